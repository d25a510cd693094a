// Dot products of bytes for kernels that are written once for several levels: AVX2. Every level that has them
// has this interface.
//
// All results are exact: sums of 32 products fit.
#pragma once

#include "ops/simd/quads_x86_avx2.h"

namespace {

inline I32 add_words(I32 sum, __m256i words) {
  sum.v = _mm256_add_epi32(sum.v, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
  // Now: g++ 12 would put the products on the stack, and add them up at the end.
  asm("" : "+x"(sum.v));
  return sum;
}

// Adds sum_j w[j] x[j] over quads of kStep quads: w codes in 0 .. kLargest less kTaken, x in -127 .. 127.
// Products are summed in words as long as their sums fit.
template <int kLargest>
struct Dots {
  static constexpr int kStep = kLargest < 32 ? 4 : 2, kTaken = 0;
  static_assert(2 * kStep * kLargest * 127 <= 32767);
  using Weight = Quads;
  static Weight weight(Quads codes) { return codes; }
  static I32 add(I32 sum, const Weight (&w)[kStep], const Quads (&x)[kStep]) {
    __m256i words = _mm256_maddubs_epi16(w[0].v, x[0].v);
    for (int j = 1; j < kStep; ++j) words = _mm256_add_epi16(words, _mm256_maddubs_epi16(w[j].v, x[j].v));
    return add_words(sum, words);
  }
};

// 255 * 127 * 2 is no word, 128 * 127 * 2 is: the code's offset is taken off here, its sign goes to x.
template <>
struct Dots<255> {
  static constexpr int kStep = 1, kTaken = 128;
  struct Weight {
    __m256i q, magnitude;
  };
  static Weight weight(Quads codes) {
    const __m256i q = _mm256_xor_si256(codes.v, _mm256_set1_epi8(-128));
    return {q, _mm256_abs_epi8(q)};
  }
  static I32 add(I32 sum, const Weight (&w)[1], const Quads (&x)[1]) {
    const __m256i words = _mm256_maddubs_epi16(w[0].magnitude, _mm256_sign_epi8(x[0].v, w[0].q));
    return add_words(sum, words);
  }
};

}  // namespace
