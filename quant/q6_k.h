// Q6_K: 256 elements in 210 bytes, 6.5625 bits each, in sixteen sub-blocks of 16.
//
//   byte 0               128             192            208 210
//        +------+-- … --+------+-- … --+------+-- … --+---+---+
//        | ql           | qh           | scales       | d     |   d f16, scales i8
//        +------+-- … --+------+-- … --+------+-- … --+---+---+
//
// Two halves of 128 elements; half n has ql from byte 64 n and qh from byte 32 n on. In a half, for
// l = 0 … 31 and r = 0 … 3, element 32 r + l takes four low bits from the nibble of ql[32 (r % 2) + l]
// (low for r < 2, high for r >= 2) and two high bits from bits 2 r, 2 r + 1 of qh[l].
//
//   x[e] = (d * scales[e / 16]) * (q[e] - 32),  q in 0 … 63
//
// Rounding (spec/qwen3-vl.md 9.4): each sub-block's scale is fitted with weights x^2, starting from -32 / m,
// m its element of the largest magnitude, then trying -(32 + 0.1 s) / m for s = -9 … 9. With M the scale of
// the largest magnitude: d = f16(1 / (-128 / M)), scales = min(127, rne(scale * (-128 / M))), and
// q = rne(x / (d * scales)) + 32 with the f16 d; where d * scales is 0, q stays as it was fitted. Sub-blocks
// and blocks below 1e-15 are zero.
#pragma once

#include "quant/block.h"
#include "quant/fit/kernels.h"

namespace tessera::quant {

struct BlockQ6_K {
  static constexpr int kElems = 256;
  std::uint8_t ql[128];
  std::uint8_t qh[64];
  std::int8_t scales[16];
  std::uint16_t d;
};
static_assert(agrees<BlockQ6_K>(DType::kQ6_K));

void decode(const BlockQ6_K& block, float* x);
void encode(const FitKernels& kernels, const float* x, BlockQ6_K* block);
void search(const FitKernels& kernels, const float* x, const float* w, BlockQ6_K* block);

}  // namespace tessera::quant
