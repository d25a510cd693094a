#include "ops/simd/x86_avx2.h"
#include "ops/gelu/kernels.h"

#include "ops/simd/math.h"

#include "ops/gelu/generic.h"

namespace tessera::ops {

void gelu_x86_avx2(const GeluRange& range) noexcept { gelu_range(range); }

}  // namespace tessera::ops
