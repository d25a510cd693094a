// Dwords of the 16 columns of a panel, for packing: AVX-512. See columns_x86_avx2.h for the contract.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

struct Columns {
  __m512i v;

  static void load(const std::uint8_t* rows, std::int64_t stride, Columns* out) {
    __m512i part[4];  // 128 bits of rows i, i + 4, i + 8, i + 12
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const auto row = [&](int r) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + (i + r) * stride));
      };
      part[i] = _mm512_inserti32x4(_mm512_castsi128_si512(row(0)), row(4), 1);
      part[i] = _mm512_inserti32x4(_mm512_inserti32x4(part[i], row(8), 2), row(12), 3);
    }
    const __m512i a = _mm512_unpacklo_epi32(part[0], part[1]), b = _mm512_unpackhi_epi32(part[0], part[1]);
    const __m512i c = _mm512_unpacklo_epi32(part[2], part[3]), d = _mm512_unpackhi_epi32(part[2], part[3]);
    out[0].v = _mm512_unpacklo_epi64(a, c);
    out[1].v = _mm512_unpackhi_epi64(a, c);
    out[2].v = _mm512_unpacklo_epi64(b, d);
    out[3].v = _mm512_unpackhi_epi64(b, d);
  }
  void store(std::uint8_t* p) const { _mm512_storeu_si512(p, v); }
  void store_halves(std::uint8_t* p) const {
    const __m512i even_then_odd = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
                                                   30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi16(even_then_odd, v));
  }
  void store_bytes(std::uint8_t* p) const {
    const __m512i in_lanes =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi32(lanes, _mm512_shuffle_epi8(v, in_lanes)));
  }
  static void stream(const std::uint8_t* from, std::int64_t bytes, std::uint8_t* to) {
    for (std::int64_t i = 0; i < bytes; i += 32) {
      const __m256i part = _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i));
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i), part);
    }
  }
  static void end_of_streams() { _mm_sfence(); }

  static Columns all(std::uint32_t dword) { return {_mm512_set1_epi32(static_cast<int>(dword))}; }
  Columns shifted_right(int bits) const {
    return {bits < 0 ? _mm512_slli_epi32(v, static_cast<unsigned>(-bits))
                     : _mm512_srli_epi32(v, static_cast<unsigned>(bits))};
  }
  friend Columns operator&(Columns a, Columns b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend Columns operator|(Columns a, Columns b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend Columns operator^(Columns a, Columns b) { return {_mm512_xor_si512(a.v, b.v)}; }
};

}  // namespace
