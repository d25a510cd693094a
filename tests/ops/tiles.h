// Some products take their operands rounded to bf16: what tests expect of them.
#pragma once

#include <bit>
#include <vector>

#include "ops/matmul/pack.h"
#include "tensor/cpu.h"
#include "tests/ops/emulated/units.h"

namespace tessera::testing {

// Whether a product of these rows, with a weight in panels of bf16 or of blocks, multiplies with matrix
// tiles: of both operands as bf16 has them.
inline bool uses_tiles(const Cpu& cpu, std::int64_t rows) { return cpu.has(IsaLevel::kAmx) && rows > 1; }

inline std::vector<float> as_bf16(std::vector<float> x) {
  for (float& value : x) {
    value = std::bit_cast<float>(static_cast<std::uint32_t>(emulated::to_bf16(value)) << 16);
  }
  return x;
}

// Operands of a product that rounds, or does not.
inline std::vector<float> as_multiplied(const std::vector<float>& x, bool rounds) {
  return rounds ? as_bf16(x) : x;
}

// Whether kernels of this level round x and weights to bf16 before they multiply with panels of numbers.
inline bool rounds_to_bf16(IsaLevel level) {
  return level == IsaLevel::kAvx512Bf16 || level == IsaLevel::kAmx;
}

// Whether a product of these rows with `weight`, no block format, does so.
inline bool rounds_to_bf16(const Cpu& cpu, std::int64_t rows, const TensorView& weight) {
  const auto layout = static_cast<ops::WeightLayout>(weight.layout);
  const bool panels = layout == ops::WeightLayout::kF16Panels || layout == ops::WeightLayout::kBf16Panels;
  return panels && rows > 1 && cpu.has(IsaLevel::kAvx512Bf16);
}

}  // namespace tessera::testing
