// Bytes and integers beside vectors of f32, for dot products of bytes: AVX2. Every level that has dots has
// this interface, for lanes as F32 has them.
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
  // The same four bytes in all lanes.
  static Quads all(const void* four) {
    int quad;
    __builtin_memcpy(&quad, four, 4);
    return {_mm256_set1_epi32(quad)};
  }
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
    if constexpr (kIndex == 3) return {_mm256_srli_epi32(quads.v, 24)};
    if constexpr (kIndex == 0) return {_mm256_and_si256(quads.v, _mm256_set1_epi32(255))};
    const __m128i lane = _mm_setr_epi32(kIndex - 256, kIndex + 4 - 256, kIndex + 8 - 256, kIndex + 12 - 256);
    return {_mm256_shuffle_epi8(quads.v, _mm256_broadcastsi128_si256(lane))};
  }
  // The same, signed.
  template <int kIndex>
  static I32 signed_byte(Quads quads) {
    if constexpr (kIndex == 3) return {_mm256_srai_epi32(quads.v, 24)};
    return {_mm256_srai_epi32(_mm256_slli_epi32(quads.v, 24 - 8 * kIndex), 24)};
  }
  static I32 load(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
  void store(void* p) const { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
  static I32 load_i8(const std::uint8_t* p) {
    return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  template <int kBits>
  I32 shifted_left() const {
    return {_mm256_slli_epi32(v, kBits)};
  }
  friend I32 operator+(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
  F32 to_f32() const { return {_mm256_cvtepi32_ps(v)}; }
};

// Whole numbers from -128 to 127, a byte a lane.
inline void store_i8(F32 x, std::int8_t* p) {
  const __m256i codes = _mm256_cvtps_epi32(x.v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
// Numbers from 0 to 65535, rounded, below zero and NaN to 0: the high bytes of 2 kLanes, then the low ones.
inline void store_bytes(F32 first, F32 second, std::uint8_t* p) {
  // Each half holds four of the first and four of the second.
  const __m256i words = _mm256_packus_epi32(_mm256_cvtps_epi32(first.v), _mm256_cvtps_epi32(second.v));
  const __m128i bytes = _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14);
  const __m256i quads = _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(bytes));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(quads, order));
}

}  // namespace
