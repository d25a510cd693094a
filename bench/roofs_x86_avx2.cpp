#include <immintrin.h>

#include "bench/roof_kernels.h"

namespace tessera::bench {

void roof_f32_x86_avx2(std::int64_t rounds) noexcept {
  __m256 x = _mm256_set1_ps(1e-3f), sums[kRoofSums256];
  // Unrolled, or the sums would live in memory. The empty statements hide that all sums are equal: the
  // compiler would keep one.
#pragma GCC unroll 12
  for (__m256& sum : sums) {
    sum = _mm256_setzero_ps();
    __asm__ volatile("" : "+x"(sum));
  }
  __asm__ volatile("" : "+x"(x));
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kRoofSums256; ++j) sums[j] = _mm256_fmadd_ps(x, x, sums[j]);
  }
#pragma GCC unroll 12
  for (__m256& sum : sums) __asm__ volatile("" : : "x"(sum));
}

void roof_read_x86_avx2(const std::byte* data, std::size_t bytes, std::size_t ahead) noexcept {
  __m256i sums[4] = {};
  for (std::size_t at = 0; at < bytes; at += 128) {
    if (ahead > 0) {
      __builtin_prefetch(data + at + ahead);
      __builtin_prefetch(data + at + ahead + 64);
    }
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      const auto* from = reinterpret_cast<const __m256i*>(data + at + 32 * j);
      sums[j] = _mm256_or_si256(sums[j], _mm256_load_si256(from));
    }
  }
  for (__m256i& sum : sums) __asm__ volatile("" : : "x"(sum));
}

}  // namespace tessera::bench
