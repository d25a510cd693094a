#include <immintrin.h>

#include "bench/roof_kernels.h"

namespace tessera::bench {

void roof_bf16_x86_avx512bf16(std::int64_t rounds) noexcept {
  __m512 x = _mm512_set1_ps(1e-3f), sums[kRoofSums512];
  // Unrolled, or the sums would live in memory. The empty statements hide that all sums are equal: the
  // compiler would keep one.
#pragma GCC unroll 24
  for (__m512& sum : sums) {
    sum = _mm512_setzero_ps();
    __asm__ volatile("" : "+v"(sum));
  }
  __asm__ volatile("" : "+v"(x));
  const __m512bh pairs = (__m512bh)x;
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kRoofSums512; ++j) sums[j] = _mm512_dpbf16_ps(sums[j], pairs, pairs);
  }
#pragma GCC unroll 24
  for (__m512& sum : sums) __asm__ volatile("" : : "v"(sum));
}

}  // namespace tessera::bench
