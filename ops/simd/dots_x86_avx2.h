// Dot products of bytes for kernels that are written once for several levels: AVX2. Every level that has them
// has this interface, for lanes as F32 has them.
//
// All results are exact: sums of 32 products fit.
#pragma once

#include "ops/simd/x86_avx2.h"

namespace {

// A quad of four bytes for each lane of F32.
struct Quads {
  __m256i v;

  static Quads load(const std::uint8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  void store(std::uint8_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  // The same four signed bytes in all lanes.
  static Quads all(const std::int8_t* four) {
    int quad;
    __builtin_memcpy(&quad, four, 4);
    return {_mm256_set1_epi32(quad)};
  }
  static Quads all(const std::int32_t* four) { return {_mm256_set1_epi32(*four)}; }
  static Quads all_bytes(int byte) { return {_mm256_set1_epi8(static_cast<char>(byte))}; }
  // Bits of pairs of bytes move; what crosses into the other byte has to be masked out.
  template <int kBits>
  Quads shifted_right() const {
    if constexpr (kBits < 0) return {_mm256_slli_epi16(v, -kBits)};
    return {_mm256_srli_epi16(v, kBits)};
  }
  friend Quads operator&(Quads a, Quads b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend Quads operator|(Quads a, Quads b) { return {_mm256_or_si256(a.v, b.v)}; }
};

// Integers, one for each lane of F32.
struct I32 {
  __m256i v;

  static I32 all(std::int32_t x) { return {_mm256_set1_epi32(x)}; }
  // Byte kIndex of each quad, unsigned.
  template <int kIndex>
  static I32 byte(Quads quads) {
    return {_mm256_and_si256(_mm256_srli_epi32(quads.v, 8 * kIndex), _mm256_set1_epi32(255))};
  }
  static I32 load_i8(const std::uint8_t* p) {
    return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  F32 to_f32() const { return {_mm256_cvtepi32_ps(v)}; }
};

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
