#include <immintrin.h>

#include "bench/roof_kernels.h"

namespace tessera::bench {

void roof_int8_x86_avx512vnni(std::int64_t rounds) noexcept {
  __m512i x = _mm512_set1_epi8(1), sums[kRoofSums512];
  // Unrolled, or the sums would live in memory. The empty statements hide that all sums are equal: the
  // compiler would keep one.
#pragma GCC unroll 24
  for (__m512i& sum : sums) {
    sum = _mm512_setzero_si512();
    __asm__ volatile("" : "+v"(sum));
  }
  __asm__ volatile("" : "+v"(x));
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kRoofSums512; ++j) sums[j] = _mm512_dpbusd_epi32(sums[j], x, x);
  }
#pragma GCC unroll 24
  for (__m512i& sum : sums) __asm__ volatile("" : : "v"(sum));
}

}  // namespace tessera::bench
