// SiLU of a gate times a value, over a range of values.
//
//   y[i] = gate[i] / (1 + e^-gate[i]) * up[i]
//
// Any alignment; y may be gate or up. Relative error of a vector kernel below 1e-6 for gates above -87;
// below that the true value, smaller than 1e-36 |up|, may come out as zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::ops {

struct SiluMulRange {
  const float* gate;
  const float* up;
  float* y;
  std::int64_t n;
};

#define TESSERA_KERNEL(level, function) void function(const SiluMulRange& range) noexcept;
#include "ops/silu_mul/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
