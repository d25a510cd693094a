// Dwords of the 16 columns of a panel, for packing: AVX2. Every level that has them has this interface.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

// One dword for each column.
struct Columns {
  __m256i low, high;  // columns 0-7 and 8-15

  // out[0 .. 3]: the four dwords at rows + c * stride, of each column c.
  static void load(const std::uint8_t* rows, std::int64_t stride, Columns* out) {
    __m256i half[4];
    load_half(rows, stride, half);
    for (int i = 0; i < 4; ++i) out[i].low = half[i];
    load_half(rows + 8 * stride, stride, half);
    for (int i = 0; i < 4; ++i) out[i].high = half[i];
  }
  // 64 bytes: the dwords.
  void store(std::uint8_t* p) const { store(low, high, p); }
  // 64 bytes: the lower halves of all dwords, then the upper ones.
  void store_halves(std::uint8_t* p) const {
    const __m256i mask = _mm256_set1_epi32(0xFFFF);
    const __m256i lower = _mm256_packus_epi32(_mm256_and_si256(low, mask), _mm256_and_si256(high, mask));
    const __m256i upper = _mm256_packus_epi32(_mm256_srli_epi32(low, 16), _mm256_srli_epi32(high, 16));
    store(_mm256_permute4x64_epi64(lower, 0xD8), _mm256_permute4x64_epi64(upper, 0xD8), p);
  }
  // 64 bytes: byte 0 of all dwords, then their bytes 1, 2, 3.
  void store_bytes(std::uint8_t* p) const {
    const __m256i in_lanes =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m256i a = _mm256_shuffle_epi8(low, in_lanes), b = _mm256_shuffle_epi8(high, in_lanes);
    const __m256i lanes = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i c = _mm256_permutevar8x32_epi32(a, lanes), d = _mm256_permutevar8x32_epi32(b, lanes);
    const __m256i even = _mm256_unpacklo_epi64(c, d), odd = _mm256_unpackhi_epi64(c, d);
    store(_mm256_permute2x128_si256(even, odd, 0x20), _mm256_permute2x128_si256(even, odd, 0x31), p);
  }

  // Copies to memory past the caches; `bytes` is a multiple of 32, as are both addresses. Other threads see
  // it after end_of_streams().
  static void stream(const std::uint8_t* from, std::int64_t bytes, std::uint8_t* to) {
    for (std::int64_t i = 0; i < bytes; i += 32) {
      const __m256i part = _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i));
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i), part);
    }
  }
  static void end_of_streams() { _mm_sfence(); }

  static Columns all(std::uint32_t dword) {
    const __m256i v = _mm256_set1_epi32(static_cast<int>(dword));
    return {v, v};
  }
  // To the left where bits are negative.
  Columns shifted_right(int bits) const {
    if (bits < 0) return {_mm256_slli_epi32(low, -bits), _mm256_slli_epi32(high, -bits)};
    return {_mm256_srli_epi32(low, bits), _mm256_srli_epi32(high, bits)};
  }
  friend Columns operator&(Columns a, Columns b) {
    return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
  }
  friend Columns operator|(Columns a, Columns b) {
    return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
  }
  friend Columns operator^(Columns a, Columns b) {
    return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
  }

 private:
  static void load_half(const std::uint8_t* rows, std::int64_t stride, __m256i* out) {
    __m256i part[4];  // 128 bits of rows i and i + 4
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const auto row = [&](int r) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + (i + r) * stride));
      };
      part[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(row(0)), row(4), 1);
    }
    const __m256i a = _mm256_unpacklo_epi32(part[0], part[1]), b = _mm256_unpackhi_epi32(part[0], part[1]);
    const __m256i c = _mm256_unpacklo_epi32(part[2], part[3]), d = _mm256_unpackhi_epi32(part[2], part[3]);
    out[0] = _mm256_unpacklo_epi64(a, c);
    out[1] = _mm256_unpackhi_epi64(a, c);
    out[2] = _mm256_unpacklo_epi64(b, d);
    out[3] = _mm256_unpackhi_epi64(b, d);
  }
  static void store(__m256i first, __m256i second, std::uint8_t* p) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), first);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), second);
  }
};

}  // namespace
