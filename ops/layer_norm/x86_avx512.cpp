#include "ops/simd/x86_avx512.h"
#include "ops/layer_norm/kernels.h"

#include "ops/layer_norm/generic.h"

namespace tessera::ops {

void layer_norm_x86_avx512(const LayerNormRows& rows, std::int64_t count) noexcept {
  layer_norm_rows(rows, count);
}

}  // namespace tessera::ops
