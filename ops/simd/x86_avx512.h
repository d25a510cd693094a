// Vectors of f32 for kernels that are written once for several levels: AVX-512. See x86_avx2.h for the
// contract.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

struct F32 {
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  __m512 v;

  static F32 zero() { return {_mm512_setzero_ps()}; }
  static F32 all(float x) { return {_mm512_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static F32 load_n(const float* p, std::int64_t n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  static F32 load_f16(const std::uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static F32 load_f16_n(const std::uint16_t* p, std::int64_t n) {
    return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p))};
  }
  static F32 load_bf16(const std::uint16_t* p) {
    return widened_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F32 load_bf16_n(const std::uint16_t* p, std::int64_t n) {
    return widened_bf16(_mm256_maskz_loadu_epi16(mask(n), p));
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_n(float* p, std::int64_t n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
  template <int kParts>
  void store_parts(float* p, std::int64_t stride) const {
    if constexpr (kParts == 1) return store(p);
    if constexpr (kParts == 2) {
      _mm256_storeu_ps(p, _mm512_castps512_ps256(v));
      _mm256_storeu_ps(p + stride, _mm512_extractf32x8_ps(v, 1));
    }
    if constexpr (kParts == 4) {
      _mm_storeu_ps(p, _mm512_castps512_ps128(v));
      _mm_storeu_ps(p + stride, _mm512_extractf32x4_ps(v, 1));
      _mm_storeu_ps(p + 2 * stride, _mm512_extractf32x4_ps(v, 2));
      _mm_storeu_ps(p + 3 * stride, _mm512_extractf32x4_ps(v, 3));
    }
  }
  void store_f16(std::uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }

  friend F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
  static F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
  static F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
  static F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static F32 abs(F32 a) { return {_mm512_abs_ps(a.v)}; }
  static F32 copy_sign(F32 magnitude, F32 sign) {
    const __m512 bit = _mm512_set1_ps(-0.0f);
    return {_mm512_or_ps(_mm512_andnot_ps(bit, magnitude.v), _mm512_and_ps(bit, sign.v))};
  }
  static F32 round(F32 a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static F32 scaled(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }
  float sum() const {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  float largest() const { return _mm512_reduce_max_ps(v); }
  static void load_bf16_pairs(const std::uint16_t* p, F32& first, F32& second) {
    const __m512i pairs = _mm512_loadu_si512(p);
    first = {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))};
    second = {_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)))};
  }
  static void transpose(F32 (&rows)[kLanes]) {
    __m512 t[16], u[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v);
      t[i + 1] = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
      u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
      u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
      u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    // u[4g + c] holds column 4l + c of rows 4g .. 4g + 3 in its quarter l.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const __m512 even0 = _mm512_shuffle_f32x4(u[c], u[c + 4], 0x88);
      const __m512 odd0 = _mm512_shuffle_f32x4(u[c], u[c + 4], 0xDD);
      const __m512 even1 = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0x88);
      const __m512 odd1 = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0xDD);
      rows[c].v = _mm512_shuffle_f32x4(even0, even1, 0x88);
      rows[c + 4].v = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
      rows[c + 8].v = _mm512_shuffle_f32x4(even0, even1, 0xDD);
      rows[c + 12].v = _mm512_shuffle_f32x4(odd0, odd1, 0xDD);
    }
  }
  static F32 all_f16(std::uint16_t h) { return {_mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(h)))}; }
  static F32 load_i8(const std::int8_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
  static F32 sums(const F32 (&rows)[kLanes]) {
    __m512 s[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512 a = rows[i + i / 4 * 4].v, b = rows[i + i / 4 * 4 + 4].v;
      s[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512 a = s[i], b = s[i + 4];
      s[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
    }
    // Quarter l of s[i] is of row 4 l + i.
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m512 a = s[2 * i], b = s[2 * i + 1];
      s[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
    }
    return {_mm512_add_ps(_mm512_shuffle_ps(s[0], s[1], 0x88), _mm512_shuffle_ps(s[0], s[1], 0xDD))};
  }

 private:
  static F32 widened_bf16(__m256i halves) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
  }
  static __mmask16 mask(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
};

}  // namespace
