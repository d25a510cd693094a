#include <cmath>

#include "ops/rms_norm/kernels.h"

namespace tessera::ops {

void rms_norm_ref(const RmsNormRows& rows, std::int64_t count) noexcept {
  for (std::int64_t r = 0; r < count; ++r) {
    const float* x = rows.x + r * rows.x_stride;
    float* y = rows.y + r * rows.y_stride;
    double sum = 0;
    for (std::int64_t i = 0; i < rows.columns; ++i) sum += double{x[i]} * x[i];
    const auto scale = static_cast<float>(1 / std::sqrt(sum / static_cast<double>(rows.columns) + rows.eps));
    for (std::int64_t i = 0; i < rows.columns; ++i) y[i] = x[i] * scale * rows.weight[i];
  }
}

}  // namespace tessera::ops
