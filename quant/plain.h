// F32, F16 and BF16 as blocks of one element, so that they stand in the table of formats like any other.
// Rounding: to the nearest, ties to even (quant/half.h).
#pragma once

#include "quant/block.h"
#include "quant/half.h"

namespace tessera::quant {

struct BlockF32 {
  static constexpr int kElems = 1;
  float value;
};
struct BlockF16 {
  static constexpr int kElems = 1;
  std::uint16_t bits;
};
struct BlockBF16 {
  static constexpr int kElems = 1;
  std::uint16_t bits;
};
static_assert(agrees<BlockF32>(DType::kF32) && agrees<BlockF16>(DType::kF16) &&
              agrees<BlockBF16>(DType::kBF16));

inline void decode(const BlockF32& block, float* x) { *x = block.value; }
inline void encode(const float* x, BlockF32* block) { block->value = *x; }
inline void decode(const BlockF16& block, float* x) { *x = f16_to_f32(block.bits); }
inline void encode(const float* x, BlockF16* block) { block->bits = f32_to_f16(*x); }
inline void decode(const BlockBF16& block, float* x) { *x = bf16_to_f32(block.bits); }
inline void encode(const float* x, BlockBF16* block) { block->bits = f32_to_bf16(*x); }

}  // namespace tessera::quant
