// Integers for attention over q8_0, by dot products of bytes: AVX-VNNI. See codes_x86_avx512vnni.h for the
// contract.
#pragma once

#include "ops/simd/quads_x86_avx2.h"

namespace {

inline I32 add_dots(I32 sum, Quads a, Quads b) { return {_mm256_dpbusd_avx_epi32(sum.v, a.v, b.v)}; }
template <int kBits>
inline I32 shifted_left(I32 x) {
  return {_mm256_slli_epi32(x.v, kBits)};
}
inline I32 operator+(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline I32 load_i32(const float* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
inline void store_i32(I32 x, float* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v); }

inline void store_bytes(F32 first, F32 second, std::uint8_t* p) {
  const __m256i words = _mm256_packus_epi32(_mm256_cvtps_epi32(first.v), _mm256_cvtps_epi32(second.v));
  const __m128i bytes = _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14);
  const __m256i quads = _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(bytes));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(quads, order));
}
inline void store_i8(F32 x, std::int8_t* p) {
  const __m256i codes = _mm256_cvtps_epi32(x.v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}

}  // namespace
