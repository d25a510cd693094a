// bf16 beside vectors of f32: AVX-512 BF16. Rounds to nearest even; denormals become zeros, whatever the mode
// of the thread.
#pragma once

#include "ops/simd/x86_avx512.h"

namespace {

// low[0 .. 15], high[0 .. 15]
inline void store_bf16(F32 low, F32 high, std::uint8_t* to) {
  const __m512bh both = _mm512_cvtne2ps_pbh(high.v, low.v);
  __builtin_memcpy(to, &both, sizeof both);
}

// first[0], second[0], first[1], second[1] ...
inline void store_bf16_pairs(F32 first, F32 second, std::uint8_t* to) {
  const __m512bh both = _mm512_cvtne2ps_pbh(second.v, first.v);
  __m512i words;
  __builtin_memcpy(&words, &both, sizeof words);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i order =
      _mm512_or_si512(_mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(16)), 16), lanes);
  _mm512_storeu_si512(to, _mm512_permutexvar_epi16(order, words));
}

}  // namespace
