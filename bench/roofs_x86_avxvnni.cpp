#include <immintrin.h>

#include "bench/roof_kernels.h"

namespace tessera::bench {

void roof_int8_x86_avxvnni(std::int64_t rounds) noexcept {
  __m256i x = _mm256_set1_epi8(1), sums[kRoofSums256];
  // Unrolled, or the sums would live in memory. The empty statements hide that all sums are equal: the
  // compiler would keep one.
#pragma GCC unroll 12
  for (__m256i& sum : sums) {
    sum = _mm256_setzero_si256();
    __asm__ volatile("" : "+x"(sum));
  }
  __asm__ volatile("" : "+x"(x));
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kRoofSums256; ++j) sums[j] = _mm256_dpbusd_avx_epi32(sums[j], x, x);
  }
#pragma GCC unroll 12
  for (__m256i& sum : sums) __asm__ volatile("" : : "x"(sum));
}

}  // namespace tessera::bench
