// Q4_0: 32 elements in 18 bytes, 4.5 bits each.
//
//   byte 0   2                                18
//        +---+---+-------+-- … --+-------+
//        | d | d | 16  0 |       | 31 15 |       d f16; each byte: high nibble, low nibble
//        +---+---+-------+-- … --+-------+       byte j: element j + 16, element j
//
//   x[l] = d * (q[l] - 8),  q in 0 … 15
//
// Rounding: m = the element of the largest magnitude (the first such, with its sign), d = m / -8,
// q = min(15, trunc(x * (1/d) + 8.5)), with the float d.
#pragma once

#include "quant/block.h"
#include "quant/fit/kernels.h"

namespace tessera::quant {

struct BlockQ4_0 {
  static constexpr int kElems = 32;
  std::uint16_t d;
  std::uint8_t qs[16];
};
static_assert(agrees<BlockQ4_0>(DType::kQ4_0));

void decode(const BlockQ4_0& block, float* x);
void encode(const float* x, BlockQ4_0* block);
void search(const FitKernels& kernels, const float* x, const float* w, BlockQ4_0* block);

}  // namespace tessera::quant
