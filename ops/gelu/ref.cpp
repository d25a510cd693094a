#include <cmath>

#include "ops/gelu/kernels.h"

namespace tessera::ops {

void gelu_ref(const GeluRange& range) noexcept {
  constexpr float kSqrtHalf = 0.707106781f, kSqrt2OverPi = 0.797884561f;
  for (std::int64_t i = 0; i < range.n; ++i) {
    const float x = range.x[i];
    range.y[i] = range.erf ? 0.5f * x * (1 + std::erf(x * kSqrtHalf))
                           : 0.5f * x * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715f * x * x * x)));
  }
}

}  // namespace tessera::ops
