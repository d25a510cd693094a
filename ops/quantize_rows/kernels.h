// Rows as groups of 32 codes with a scale: the formula and the bytes are in ops/matmul/activations.h.
//
// x: `groups` times 32 floats one after the other, any alignment of floats. A group depends on nothing but
// its own 32 numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activations.h"

namespace tessera::ops {

// Bits of the least and of the first infinite magnitude that is quantized: 2^-112 and Inf.
inline constexpr std::int32_t kLeastBits = 0x07800000, kInfiniteBits = 0x7F800000;

#define TESSERA_KERNEL(level, function) \
  void function(const float* x, ActivationGroup* y, std::int64_t groups) noexcept;
#include "ops/quantize_rows/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
