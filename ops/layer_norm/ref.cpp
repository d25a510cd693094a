#include <cmath>

#include "ops/layer_norm/kernels.h"

namespace tessera::ops {

void layer_norm_ref(const LayerNormRows& rows, std::int64_t count) noexcept {
  const auto n = static_cast<double>(rows.columns);
  for (std::int64_t r = 0; r < count; ++r) {
    const float* x = rows.x + r * rows.x_stride;
    float* y = rows.y + r * rows.y_stride;
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < rows.columns; ++i) sum += x[i];
    const double mean = sum / n;
    for (std::int64_t i = 0; i < rows.columns; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / std::sqrt(squares / n + rows.eps);
    for (std::int64_t i = 0; i < rows.columns; ++i) {
      y[i] = static_cast<float>((x[i] - mean) * scale) * rows.weight[i] + rows.bias[i];
    }
  }
}

}  // namespace tessera::ops
