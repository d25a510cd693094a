// Q4_1: 32 elements in 20 bytes, 5 bits each.
//
//   byte 0   2   4                                20
//        +---+---+---+---+-------+-- … --+-------+
//        | d | d | m | m | 16  0 |       | 31 15 |   d, m f16; nibbles as in Q4_0
//        +---+---+---+---+-------+-- … --+-------+
//
//   x[l] = d * q[l] + m,  q in 0 … 15
//
// Rounding: m = min(x), d = (max(x) - m) / 15, q = min(15, trunc((x - m) * (1/d) + 0.5)), with the floats d
// and m.
#pragma once

#include "quant/block.h"
#include "quant/fit/kernels.h"

namespace tessera::quant {

struct BlockQ4_1 {
  static constexpr int kElems = 32;
  std::uint16_t d, m;
  std::uint8_t qs[16];
};
static_assert(agrees<BlockQ4_1>(DType::kQ4_1));

void decode(const BlockQ4_1& block, float* x);
void encode(const float* x, BlockQ4_1* block);
void search(const FitKernels& kernels, const float* x, const float* w, BlockQ4_1* block);

}  // namespace tessera::quant
