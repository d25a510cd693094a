// Dot products of pairs of bf16: AVX-512 BF16.
//
// dot adds to each f32 lane the products of its two pairs' first and second elements; subnormal operands and
// results count as zero. Conversions round to nearest, halves to even; NaN stays NaN.
#pragma once

#include "ops/simd/x86_avx512.h"

namespace {

// Two bf16 for each lane of F32, the first in the lower half.
struct Pairs {
  __m512i v;

  static Pairs load(const std::uint16_t* p) { return {_mm512_loadu_si512(p)}; }
  // The same pair in all lanes.
  static Pairs all(const std::uint16_t* two) {
    int pair;
    __builtin_memcpy(&pair, two, 4);
    return {_mm512_set1_epi32(pair)};
  }
  // Of numbers that bf16 holds exactly.
  static Pairs exact(F32 first, F32 second) {
    return {
        _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(first.v), 16), _mm512_castps_si512(second.v))};
  }
  static F32 dot(Pairs a, Pairs b, F32 sum) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
  }
  void store(std::uint16_t* p) const { _mm512_storeu_si512(p, v); }
};

inline void store_bf16(F32 x, std::uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}

}  // namespace
