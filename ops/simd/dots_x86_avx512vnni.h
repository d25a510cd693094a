// Dot products of bytes: AVX-512 VNNI. See dots_x86_avx2.h for the contract.
#pragma once

#include "ops/simd/x86_avx512.h"

namespace {

struct Quads {
  __m512i v;

  static Quads load(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
  void store(std::uint8_t* p) const { _mm512_storeu_si512(p, v); }
  static Quads all(const std::int8_t* four) {
    int quad;
    __builtin_memcpy(&quad, four, 4);
    return {_mm512_set1_epi32(quad)};
  }
  static Quads all(const std::int32_t* four) { return {_mm512_set1_epi32(*four)}; }
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
    return {_mm512_and_si512(_mm512_srli_epi32(quads.v, 8 * kIndex), _mm512_set1_epi32(255))};
  }
  static I32 load_i8(const std::uint8_t* p) {
    return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  F32 to_f32() const { return {_mm512_cvtepi32_ps(v)}; }
};

template <int kLargest>
struct Dots {
  static constexpr int kStep = 1, kTaken = 0;
  using Weight = Quads;
  static Weight weight(Quads codes) { return codes; }
  static I32 add(I32 sum, const Weight (&w)[1], const Quads (&x)[1]) {
    return {_mm512_dpbusd_epi32(sum.v, w[0].v, x[0].v)};
  }
};

}  // namespace
