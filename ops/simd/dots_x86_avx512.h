// Dot products of bytes: AVX-512 without VNNI. See dots_x86_avx2.h for the contract.
#pragma once

#include "ops/simd/quads_x86_avx512.h"

namespace {

inline I32 add_words(I32 sum, __m512i words) {
  sum.v = _mm512_add_epi32(sum.v, _mm512_madd_epi16(words, _mm512_set1_epi16(1)));
  // Now: g++ 12 would put the products on the stack, and add them up at the end.
  asm("" : "+v"(sum.v));
  return sum;
}

template <int kLargest>
struct Dots {
  static constexpr int kStep = kLargest < 32 ? 4 : 2, kTaken = 0;
  static_assert(2 * kStep * kLargest * 127 <= 32767);
  using Weight = Quads;
  static Weight weight(Quads codes) { return codes; }
  static I32 add(I32 sum, const Weight (&w)[kStep], const Quads (&x)[kStep]) {
    __m512i words = _mm512_maddubs_epi16(w[0].v, x[0].v);
    for (int j = 1; j < kStep; ++j) words = _mm512_add_epi16(words, _mm512_maddubs_epi16(w[j].v, x[j].v));
    return add_words(sum, words);
  }
};

// 255 * 127 * 2 is no word, 128 * 127 * 2 is: the code's offset is taken off here, its sign goes to x.
template <>
struct Dots<255> {
  static constexpr int kStep = 1, kTaken = 128;
  struct Weight {
    __m512i magnitude;
    __mmask64 negative;
  };
  static Weight weight(Quads codes) {
    const __m512i q = _mm512_xor_si512(codes.v, _mm512_set1_epi8(-128));
    return {_mm512_abs_epi8(q), _mm512_movepi8_mask(q)};
  }
  static I32 add(I32 sum, const Weight (&w)[1], const Quads (&x)[1]) {
    const __m512i x_signed = _mm512_mask_sub_epi8(x[0].v, w[0].negative, _mm512_setzero_si512(), x[0].v);
    const __m512i words = _mm512_maddubs_epi16(w[0].magnitude, x_signed);
    return add_words(sum, words);
  }
};

}  // namespace
