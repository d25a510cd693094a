// Q8_0: 32 elements in 34 bytes, 8.5 bits each.
//
//   byte 0   2                                34
//        +---+---+---+---+-- … --+----+----+
//        | d | d | q0  q1          q30  q31  |   d f16, q i8
//        +---+---+---+---+-- … --+----+----+
//
//   x[l] = d * q[l]
//
// Rounding: d = max|x| / 127; q = x * (1/d) to the nearest, halves away from zero, with the float d and not
// the f16 one.
#pragma once

#include "quant/block.h"

namespace tessera::quant {

struct BlockQ8_0 {
  static constexpr int kElems = 32;
  std::uint16_t d;
  std::int8_t qs[32];
};
static_assert(agrees<BlockQ8_0>(DType::kQ8_0));

void decode(const BlockQ8_0& block, float* x);
void encode(const float* x, BlockQ8_0* block);

}  // namespace tessera::quant
