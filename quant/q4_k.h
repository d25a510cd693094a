// Q4_K: 256 elements in 144 bytes, 4.5 bits each.
//
//   byte 0   2      4            16                                144
//        +---+---+------+------+-- … --+------+-- … --+------+-- … --+
//        | d     | dmin        | scales       | qs                   |   d, dmin f16
//        +---+---+------+------+-- … --+------+-- … --+------+-- … --+
//
//   scales  12 bytes: for each sub-block of 32 a scale and a min of six bits (quant/k_min.h)
//   qs      128 bytes: byte 32 p + l holds element l of sub-blocks 2 p (low nibble) and 2 p + 1 (high)
//
//   x = (d * scale[j]) * q - (dmin * min[j]),  q in 0 … 15
//
// Rounding: encode_k_min with 15 levels, tries from levels - 1 to levels + 1 in steps of 0.1.
#pragma once

#include "quant/block.h"
#include "quant/fit/kernels.h"

namespace tessera::quant {

struct BlockQ4_K {
  static constexpr int kElems = 256;
  std::uint16_t d, dmin;
  std::uint8_t scales[12];
  std::uint8_t qs[128];
};
static_assert(agrees<BlockQ4_K>(DType::kQ4_K));

void decode(const BlockQ4_K& block, float* x);
void encode(const FitKernels& kernels, const float* x, BlockQ4_K* block);
void search(const FitKernels& kernels, const float* x, const float* w, BlockQ4_K* block);

}  // namespace tessera::quant
