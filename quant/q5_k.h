// Q5_K: 256 elements in 176 bytes, 5.5 bits each.
//
//   byte 0   2      4            16            48                   176
//        +---+---+------+------+-- … --+------+-- … --+------+-- … --+
//        | d     | dmin | scales       | qh           | qs           |   d, dmin f16
//        +---+---+------+------+-- … --+------+-- … --+------+-- … --+
//
//   scales  12 bytes: for each sub-block of 32 a scale and a min of six bits (quant/k_min.h)
//   qh      32 bytes: bit j of byte l is the fifth bit of element l of sub-block j
//   qs      128 bytes: byte 32 p + l holds element l of sub-blocks 2 p (low nibble) and 2 p + 1 (high)
//
//   x = (d * scale[j]) * q - (dmin * min[j]),  q in 0 … 31
//
// Rounding: encode_k_min with 31 levels, tries from levels - 0.5 to levels + 1 in steps of 0.1.
#pragma once

#include "quant/block.h"
#include "quant/fit/kernels.h"

namespace tessera::quant {

struct BlockQ5_K {
  static constexpr int kElems = 256;
  std::uint16_t d, dmin;
  std::uint8_t scales[12];
  std::uint8_t qh[32];
  std::uint8_t qs[128];
};
static_assert(agrees<BlockQ5_K>(DType::kQ5_K));

void decode(const BlockQ5_K& block, float* x);
void encode(const FitKernels& kernels, const float* x, BlockQ5_K* block);
void search(const FitKernels& kernels, const float* x, const float* w, BlockQ5_K* block);

}  // namespace tessera::quant
