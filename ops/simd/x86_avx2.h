// Vectors of f32 for kernels that are written once for several levels: AVX2. Every level has this interface;
// only sealed files include it, after nothing but <cstdint>, <cstddef> and their contracts. The anonymous
// namespace keeps each file's copy its own.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

struct F32 {
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  __m256 v;

  static F32 zero() { return {_mm256_setzero_ps()}; }
  static F32 all(float x) { return {_mm256_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  // The first n lanes, 0 < n < kLanes; the others are zero and their memory is not touched.
  static F32 load_n(const float* p, std::int64_t n) { return {_mm256_maskload_ps(p, mask(n))}; }
  // Widened, exactly.
  static F32 load_f16(const std::uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  // As load_n.
  static F32 load_f16_n(const std::uint16_t* p, std::int64_t n) { return load_f16(Halves(p, n).data); }
  static F32 load_bf16(const std::uint16_t* p) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16))};
  }
  static F32 load_bf16_n(const std::uint16_t* p, std::int64_t n) { return load_bf16(Halves(p, n).data); }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store_n(float* p, std::int64_t n) const { _mm256_maskstore_ps(p, mask(n), v); }
  // Lanes in 1, 2 or 4 parts of the same size, part i to p + i * stride.
  template <int kParts>
  void store_parts(float* p, std::int64_t stride) const {
    if constexpr (kParts == 1) return store(p);
    const __m128 low = _mm256_castps256_ps128(v), high = _mm256_extractf128_ps(v, 1);
    if constexpr (kParts == 2) {
      _mm_storeu_ps(p, low);
      _mm_storeu_ps(p + stride, high);
    }
    if constexpr (kParts == 4) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), low);
      _mm_storeh_pi(reinterpret_cast<__m64*>(p + stride), low);
      _mm_storel_pi(reinterpret_cast<__m64*>(p + 2 * stride), high);
      _mm_storeh_pi(reinterpret_cast<__m64*>(p + 3 * stride), high);
    }
  }
  void store_f16(std::uint16_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }

  friend F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
  // min and max give b where either is NaN.
  static F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
  static F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
  // a * b + c, rounded once.
  static F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static F32 abs(F32 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  static F32 copy_sign(F32 magnitude, F32 sign) {
    const __m256 bit = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.v), _mm256_and_ps(bit, sign.v))};
  }
  static F32 round(F32 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  // a * 2^n for integers n in [-126, 127].
  static F32 scaled(F32 a, F32 n) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
    return {_mm256_mul_ps(a.v, _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)))};
  }
  // Lanes are added in a fixed tree: halves onto each other.
  float sum() const {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  float largest() const {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  // Of kLanes pairs the first elements and the second ones, widened, exactly.
  static void load_bf16_pairs(const std::uint16_t* p, F32& first, F32& second) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    first = {_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16))};
    second = {_mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-65536)))};
  }
  // Lane j of rows[i] becomes lane i of rows[j].
  static void transpose(F32 (&rows)[kLanes]) {
    __m256 t[8], u[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v);
      t[i + 1] = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
      u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
      u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      rows[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
      rows[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
  }
  // An f16 number in all lanes, exactly.
  static F32 all_f16(std::uint16_t h) { return {_mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(h)))}; }
  // kLanes integers.
  static F32 load_i8(const std::int8_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
  // Lane i is the sum of rows[i], added in the same tree for each.
  static F32 sums(const F32 (&rows)[kLanes]) {
    __m256 s[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256 a = rows[i].v, b = rows[i + 4].v;
      s[i] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m256 a = s[2 * i], b = s[2 * i + 1];
      s[i] = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE));
    }
    return {_mm256_add_ps(_mm256_shuffle_ps(s[0], s[1], 0x88), _mm256_shuffle_ps(s[0], s[1], 0xDD))};
  }

 private:
  // The first n, then zeros.
  struct Halves {
    std::uint16_t data[kLanes] = {};
    Halves(const std::uint16_t* p, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) data[i] = p[i];
    }
  };
  static __m256i mask(std::int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

}  // namespace
