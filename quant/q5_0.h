// Q5_0: 32 elements in 22 bytes, 5.5 bits each. Rows that Q4_K does not divide are stored so.
//
//   byte 0   2               6                                22
//        +---+---+-----------+-------+-- … --+-------+
//        | d | d | qh        | 16  0 |       | 31 15 |   d f16; qh u32: bit l is the fifth bit of
//        +---+---+-----------+-------+-- … --+-------+   element l; nibbles as in Q4_0
//
//   x[l] = d * (q[l] - 16),  q in 0 … 31
//
// Rounding: as Q4_0 with d = m / -16, q = min(31, trunc(x * (1/d) + 16.5)).
#pragma once

#include "quant/block.h"
#include "quant/fit/kernels.h"

namespace tessera::quant {

struct BlockQ5_0 {
  static constexpr int kElems = 32;
  std::uint16_t d;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(agrees<BlockQ5_0>(DType::kQ5_0));

void decode(const BlockQ5_0& block, float* x);
void encode(const float* x, BlockQ5_0* block);
void search(const FitKernels& kernels, const float* x, const float* w, BlockQ5_0* block);

}  // namespace tessera::quant
