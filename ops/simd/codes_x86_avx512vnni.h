// Integers for attention over q8_0, by dot products of bytes: AVX-512 VNNI.
#pragma once

#include "ops/simd/dots_x86_avx512vnni.h"

namespace {

// sum + a . b for unsigned a and signed b, by lane.
inline I32 add_dots(I32 sum, Quads a, Quads b) { return {_mm512_dpbusd_epi32(sum.v, a.v, b.v)}; }
template <int kBits>
inline I32 shifted_left(I32 x) {
  return {_mm512_slli_epi32(x.v, kBits)};
}
inline I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I32 load_i32(const float* p) { return {_mm512_loadu_si512(p)}; }
inline void store_i32(I32 x, float* p) { _mm512_storeu_si512(p, x.v); }

// Numbers from 0 to 65535, rounded, below zero and NaN to 0: the high bytes of 2 kLanes, then the low ones.
inline void store_bytes(F32 first, F32 second, std::uint8_t* p) {
  const __m512i words = _mm512_packus_epi32(_mm512_cvtps_epi32(first.v), _mm512_cvtps_epi32(second.v));
  // Each quarter holds four of the first and four of the second.
  const __m128i bytes = _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14);
  const __m512i quads = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(
      p, _mm512_permutexvar_epi32(quads, _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(bytes))));
}
// Whole numbers from -128 to 127, a byte a lane.
inline void store_i8(F32 x, std::int8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x.v)));
}

}  // namespace
