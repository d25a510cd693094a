// Q5_1: 32 elements in 24 bytes, 6 bits each. Rows that Q5_K does not divide are stored so.
//
//   byte 0   2   4           8                                24
//        +---+---+---+---+-----------+-------+-- … --+-------+
//        | d | d | m | m | qh        | 16  0 |       | 31 15 |   d, m f16; qh u32: bit l is the fifth bit
//        +---+---+---+---+-----------+-------+-- … --+-------+   of element l; nibbles as in Q4_0
//
//   x[l] = d * q[l] + m,  q in 0 … 31
//
// Rounding: as Q4_1 with d = (max(x) - m) / 31.
#pragma once

#include "quant/block.h"
#include "quant/fit/kernels.h"

namespace tessera::quant {

struct BlockQ5_1 {
  static constexpr int kElems = 32;
  std::uint16_t d, m;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(agrees<BlockQ5_1>(DType::kQ5_1));

void decode(const BlockQ5_1& block, float* x);
void encode(const float* x, BlockQ5_1* block);
void search(const FitKernels& kernels, const float* x, const float* w, BlockQ5_1* block);

}  // namespace tessera::quant
