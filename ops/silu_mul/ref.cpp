#include <cmath>

#include "ops/silu_mul/kernels.h"

namespace tessera::ops {

void silu_mul_ref(const SiluMulRange& range) noexcept {
  for (std::int64_t i = 0; i < range.n; ++i) {
    range.y[i] = range.gate[i] / (1 + std::exp(-range.gate[i])) * range.up[i];
  }
}

}  // namespace tessera::ops
