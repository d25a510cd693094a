#include "ops/rope/kernels.h"

namespace tessera::ops {

void rope_ref(const RopeToken& token) noexcept {
  for (std::int64_t h = 0; h < token.heads; ++h) {
    const float* x = token.x + h * token.x_stride;
    float* y = token.y + h * token.y_stride;
    for (std::int64_t i = 0; i < token.half; ++i) {
      const float cos = token.table[2 * i], sin = token.table[2 * i + 1];
      const float a = x[i], b = x[i + token.half];
      y[i] = a * cos - b * sin;
      y[i + token.half] = b * cos + a * sin;
    }
  }
}

}  // namespace tessera::ops
