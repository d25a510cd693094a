// Blocks of q8_0 (quant/q8_0.h: f16 scale, 32 codes) as operands of byte dot products: AVX-512 VNNI.
#pragma once

#include "ops/simd/dots_x86_avx512vnni.h"

namespace {

struct Codes {
  static constexpr std::int64_t kBlockElements = 32, kBlockBytes = 34;

  // Of the two blocks at `at` in each row, each 128 larger: quads[i] has elements 4 i to 4 i + 3 of all rows,
  // quads[8 + i] those of the second blocks.
  static void load_two(const std::byte* const (&rows)[16], std::int64_t at, Quads (&quads)[16]) {
    transpose(rows, quads, [at](const std::byte* row) {
      return _mm512_inserti64x4(_mm512_castsi256_si512(codes(row + at)), codes(row + at + kBlockBytes), 1);
    });
  }
  // Of one block; the other eight are unspecified.
  static void load_one(const std::byte* const (&rows)[16], std::int64_t at, Quads (&quads)[16]) {
    transpose(rows, quads, [at](const std::byte* row) { return _mm512_zextsi256_si512(codes(row + at)); });
  }

 private:
  static __m256i codes(const std::byte* block) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2));
  }
  template <typename Load>
  static void transpose(const std::byte* const (&rows)[16], Quads (&quads)[16], Load load) {
    F32 dwords[16];
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) {
      dwords[j].v = _mm512_castsi512_ps(_mm512_xor_si512(load(rows[j]), _mm512_set1_epi8(-128)));
    }
    F32::transpose(dwords);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) quads[j].v = _mm512_castps_si512(dwords[j].v);
  }
};

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
  // Of 32 codes of each of two blocks pairs of those at the same place: low has places 0 to 7 and 16 to 23,
  // high the others.
  static void load(const std::byte* first, const std::byte* second, Words& low, Words& high) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + 2));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second + 2));
    low = {_mm512_cvtepi8_epi16(_mm256_unpacklo_epi8(a, b))};
    high = {_mm512_cvtepi8_epi16(_mm256_unpackhi_epi8(a, b))};
  }
  // Lanes of such a low and high in the order of their places.
  static void order(F32& low, F32& high) {
    const __m512 first = _mm512_shuffle_f32x4(low.v, high.v, 0x44);
    high = {_mm512_shuffle_f32x4(low.v, high.v, 0xEE)};
    low = {first};
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
