// Rotation of the heads of one token by the angles of its position.
//
//   y[h][i]        = x[h][i] cos[i] - x[h][i + half] sin[i]
//   y[h][i + half] = x[h][i + half] cos[i] + x[h][i] sin[i]        0 <= i < half
//
// table holds cos[0], sin[0], cos[1], sin[1] … of the token. Heads are 2 half contiguous floats, x_stride and
// y_stride floats apart; any alignment. y may be x.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::ops {

struct RopeToken {
  const float* x;
  const float* table;
  float* y;
  std::int64_t x_stride, y_stride, heads, half;
};

#define TESSERA_KERNEL(level, function) void function(const RopeToken& token) noexcept;
#include "ops/rope/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
