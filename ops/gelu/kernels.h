// GELU of a range of values, exact or in the tanh form.
//
//   erf:   y = 0.5 x (1 + erf(x / sqrt 2))
//   tanh:  y = 0.5 x (1 + tanh(u)) = x / (1 + e^-2u),  u = sqrt(2 / pi) (x + 0.044715 x^3)
//
// Any alignment; y may be x. Absolute error of a vector kernel below 1e-6 max(1, |x|).
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::ops {

struct GeluRange {
  const float* x;
  float* y;
  std::int64_t n;
  bool erf;
};

#define TESSERA_KERNEL(level, function) void function(const GeluRange& range) noexcept;
#include "ops/gelu/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
