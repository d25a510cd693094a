// What Q4_K and Q5_K share: 256 elements in eight sub-blocks of 32, each with a scale and a min of six bits
// that count in units of the block's d and dmin.
//
//   x = d * scale[j] * q - dmin * min[j]     in sub-block j, q in 0 … levels
#pragma once

#include <cstdint>

#include "quant/fit/kernels.h"

namespace tessera::quant {

struct KMin {
  std::uint16_t d, dmin;  // f16
  std::uint8_t scale[8], min[8];
  std::uint8_t q[256];
};

// The twelve bytes of the scales and mins, s and m of six bits each:
//
//   byte j      (j < 4)   upper 2 of s[j+4], s[j]
//   byte j + 4  (j < 4)   upper 2 of m[j+4], m[j]
//   byte j + 8  (j < 4)   lower 4 of m[j+4], lower 4 of s[j+4]
void pack_scales(const std::uint8_t* scale, const std::uint8_t* min, std::uint8_t* bytes);
void unpack_scales(const std::uint8_t* bytes, std::uint8_t* scale, std::uint8_t* min);

// The 256 numbers, with the products in the format's order: (d * scale) * q - (dmin * min).
void decode_k_min(const KMin& block, float* x);

// Rounding of the reference (spec/qwen3-vl.md 9.4): sub-blocks are fitted with weights
// sqrt(sum x^2 / 32) + |x|; d = f16(largest scale / 63), dmin = f16(largest min / 63); scale and min are
// rounded to nearest even in units of the floats before f16; then each q = rne((x + dmin * min) /
// (d * scale)) with the f16 numbers; where d * scale is 0, q stays as it was fitted.
KMin encode_k_min(const FitKernels& kernels, const float* x, const KMinRule& rule);

// Sub-blocks fitted by fit_line; then d, dmin and the six-bit numbers are searched together.
KMin search_k_min(const FitKernels& kernels, const float* x, const float* w, int levels);

}  // namespace tessera::quant
