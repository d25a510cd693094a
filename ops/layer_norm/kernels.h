// Layer normalisation of rows.
//
//   y[r][i] = (x[r][i] - mean) / sqrt(var + eps) * weight[i] + bias[i]
//   mean = sum_j x[r][j] / columns,  var = sum_j (x[r][j] - mean)^2 / columns
//
// Rows are contiguous, `x_stride` and `y_stride` floats apart; any alignment. y may be x. The mean is known
// before the squares are summed, so a large common offset costs no digits of the variance.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::ops {

struct LayerNormRows {
  const float* x;
  const float* weight;
  const float* bias;
  float* y;
  std::int64_t x_stride, y_stride, columns;
  float eps;
};

#define TESSERA_KERNEL(level, function) void function(const LayerNormRows& rows, std::int64_t count) noexcept;
#include "ops/layer_norm/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
