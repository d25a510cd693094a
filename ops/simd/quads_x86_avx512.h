// Bytes and integers beside vectors of f32: AVX-512. See quads_x86_avx2.h for the contract.
#pragma once

#include "ops/simd/x86_avx512.h"

namespace {

struct Quads {
  __m512i v;

  static Quads load(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
  void store(std::uint8_t* p) const { _mm512_storeu_si512(p, v); }
  static Quads all(const void* four) {
    int quad;
    __builtin_memcpy(&quad, four, 4);
    return {_mm512_set1_epi32(quad)};
  }
  static Quads all_bytes(int byte) { return {_mm512_set1_epi8(static_cast<char>(byte))}; }
  template <int kBits>
  Quads shifted_right() const {
    if constexpr (kBits < 0) return {_mm512_slli_epi16(v, -kBits)};
    return {_mm512_srli_epi16(v, kBits)};
  }
  friend Quads operator&(Quads a, Quads b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend Quads operator|(Quads a, Quads b) { return {_mm512_or_si512(a.v, b.v)}; }
};

struct I32 {
  __m512i v;

  static I32 all(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
  template <int kIndex>
  static I32 byte(Quads quads) {
    if constexpr (kIndex == 3) return {_mm512_srli_epi32(quads.v, 24)};
    if constexpr (kIndex == 0) return {_mm512_and_si512(quads.v, _mm512_set1_epi32(255))};
    const __m128i lane = _mm_setr_epi32(kIndex - 256, kIndex + 4 - 256, kIndex + 8 - 256, kIndex + 12 - 256);
    return {_mm512_shuffle_epi8(quads.v, _mm512_broadcast_i32x4(lane))};
  }
  template <int kIndex>
  static I32 signed_byte(Quads quads) {
    if constexpr (kIndex == 3) return {_mm512_srai_epi32(quads.v, 24)};
    return {_mm512_srai_epi32(_mm512_slli_epi32(quads.v, 24 - 8 * kIndex), 24)};
  }
  static I32 load(const void* p) { return {_mm512_loadu_si512(p)}; }
  void store(void* p) const { _mm512_storeu_si512(p, v); }
  static I32 load_i8(const std::uint8_t* p) {
    return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  template <int kBits>
  I32 shifted_left() const {
    return {_mm512_slli_epi32(v, kBits)};
  }
  friend I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
  F32 to_f32() const { return {_mm512_cvtepi32_ps(v)}; }
};

inline void store_i8(F32 x, std::int8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x.v)));
}
inline void store_bytes(F32 first, F32 second, std::uint8_t* p) {
  // Each quarter holds four of the first and four of the second.
  const __m512i words = _mm512_packus_epi32(_mm512_cvtps_epi32(first.v), _mm512_cvtps_epi32(second.v));
  const __m128i bytes = _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14);
  const __m512i quads = _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(bytes));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, quads));
}

}  // namespace
