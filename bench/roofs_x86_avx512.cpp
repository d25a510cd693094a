#include <immintrin.h>

#include "bench/roof_kernels.h"

namespace tessera::bench {

void roof_f32_x86_avx512(std::int64_t rounds) noexcept {
  __m512 x = _mm512_set1_ps(1e-3f), sums[kRoofSums512];
  // Unrolled, or the sums would live in memory. The empty statements hide that all sums are equal: the
  // compiler would keep one.
#pragma GCC unroll 24
  for (__m512& sum : sums) {
    sum = _mm512_setzero_ps();
    __asm__ volatile("" : "+v"(sum));
  }
  __asm__ volatile("" : "+v"(x));
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kRoofSums512; ++j) sums[j] = _mm512_fmadd_ps(x, x, sums[j]);
  }
#pragma GCC unroll 24
  for (__m512& sum : sums) __asm__ volatile("" : : "v"(sum));
}

void roof_read_x86_avx512(const std::byte* data, std::size_t bytes, std::size_t ahead) noexcept {
  __m512i sums[4] = {};
  for (std::size_t at = 0; at < bytes; at += 256) {
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      if (ahead > 0) __builtin_prefetch(data + at + ahead + 64 * j);
      sums[j] = _mm512_or_si512(sums[j], _mm512_load_si512(data + at + 64 * j));
    }
  }
  for (__m512i& sum : sums) __asm__ volatile("" : : "v"(sum));
}

}  // namespace tessera::bench
