// Integers for attention over q8_0, by dot products of bytes and of words: AVX-512 VNNI.
#pragma once

#include "ops/simd/dots_x86_avx512vnni.h"

namespace {

// sum + codes . x for unsigned codes and signed x, by lane.
inline I32 add_dots(I32 sum, Quads codes, Quads x) { return {_mm512_dpbusd_epi32(sum.v, codes.v, x.v)}; }
template <int kBits>
inline I32 shifted_left(I32 x) {
  return {_mm512_slli_epi32(x.v, kBits)};
}
inline I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I32 load_i32(const float* p) { return {_mm512_loadu_si512(p)}; }
inline void store_i32(I32 x, float* p) { _mm512_storeu_si512(p, x.v); }

// Two signed words for each lane of F32.
struct Words {
  __m512i v;

  // The same two in all lanes.
  static Words all(const std::int16_t* two) {
    int words;
    __builtin_memcpy(&words, two, 4);
    return {_mm512_set1_epi32(words)};
  }
  // 2 kLanes signed bytes, widened.
  static Words load(const std::int8_t* p) {
    return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
};
inline I32 add_dots(I32 sum, Words a, Words b) { return {_mm512_dpwssd_epi32(sum.v, a.v, b.v)}; }

// Numbers from -32768 to 32767, rounded to words: those of `first`, then those of `second`.
inline void store_i16(F32 first, F32 second, std::int16_t* p) {
  const __m512i words = _mm512_packs_epi32(_mm512_cvtps_epi32(first.v), _mm512_cvtps_epi32(second.v));
  // Each quarter holds four of the first and four of the second.
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi64(order, words));
}
// Whole numbers from -128 to 127, a byte a lane.
inline void store_i8(F32 x, std::int8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x.v)));
}

}  // namespace
