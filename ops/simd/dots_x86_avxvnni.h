// Dot products of bytes: AVX-VNNI. See dots_x86_avx2.h for the contract.
#pragma once

#include "ops/simd/quads_x86_avx2.h"

namespace {

template <int kLargest>
struct Dots {
  static constexpr int kStep = 1, kTaken = 0;
  using Weight = Quads;
  static Weight weight(Quads codes) { return codes; }
  static I32 add(I32 sum, const Weight (&w)[1], const Quads (&x)[1]) {
    return {_mm256_dpbusd_avx_epi32(sum.v, w[0].v, x[0].v)};
  }
};

}  // namespace
