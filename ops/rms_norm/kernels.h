// RMS normalisation of rows.
//
//   y[r][i] = x[r][i] * weight[i] / sqrt(sum_j x[r][j]^2 / columns + eps)
//
// Rows are contiguous, `x_stride` and `y_stride` floats apart; any alignment. y may be x. Sums are f32 in
// lanes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::ops {

struct RmsNormRows {
  const float* x;
  const float* weight;
  float* y;
  std::int64_t x_stride, y_stride, columns;
  float eps;
};

#define TESSERA_KERNEL(level, function) void function(const RmsNormRows& rows, std::int64_t count) noexcept;
#include "ops/rms_norm/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
