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

  // Elements of `low` and then those of `high`, rounded: pairs of neighbours.
  static Pairs rounded(F32 low, F32 high) {
    return {reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v))};
  }
  // Pairs of the elements of a lane, rounded.
  static Pairs interleaved(F32 first, F32 second) {
    return interleaved(reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second.v, first.v)));
  }
  // The same of 16 bf16 each.
  static Pairs interleaved(const std::uint16_t* first, const std::uint16_t* second) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
    return interleaved(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
  }
  // 32 bf16: pairs of neighbours.
  static Pairs load(const std::uint16_t* p) { return {_mm512_loadu_si512(p)}; }
  void store(std::uint8_t* p) const { _mm512_storeu_si512(p, v); }
  // The bits of a pair as one f32, and back.
  F32 bits() const { return {_mm512_castsi512_ps(v)}; }
  static Pairs of_bits(F32 x) { return {_mm512_castps_si512(x.v)}; }
  // The second elements become zero.
  Pairs firsts() const { return {_mm512_and_si512(v, _mm512_set1_epi32(0xFFFF))}; }
  static F32 dot(Pairs a, Pairs b, F32 sum) {
#if defined(__clang__)
    // clang 16 breaks down where it sees how a vector of bf16 was made.
    asm("" : "+v"(a.v), "+v"(b.v));
#endif
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
  }

 private:
  // Pairs of elements i and 16 + i.
  static Pairs interleaved(__m512i halves) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i order =
        _mm512_or_si512(_mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(16)), 16), lanes);
    return {_mm512_permutexvar_epi16(order, halves)};
  }
};

// 2^x, relative error below 7.6e-5: a fiftieth of what rounding to bf16 may add. x = n + f, 0 <= f < 1, and
// the polynomial of degree 3 in f with the least largest relative error. Below -126 the value there comes
// out; 2^NaN is NaN.
inline F32 rough_exp2(F32 x) {
  x = F32::max(F32::all(-126.0f), x);
  const F32 f{_mm512_reduce_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
  F32 p = F32::fma(F32::all(0.0780245215f), f, F32::all(0.226067156f));
  p = F32::fma(p, f, F32::all(0.695833564f));
  p = F32::fma(p, f, F32::all(0.999925196f));
  return {_mm512_scalef_ps(p.v, x.v)};
}

}  // namespace
