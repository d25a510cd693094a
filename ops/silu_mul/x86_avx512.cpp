#include "ops/simd/x86_avx512.h"
#include "ops/silu_mul/kernels.h"

#include "ops/simd/math.h"

#include "ops/silu_mul/generic.h"

namespace tessera::ops {

void silu_mul_x86_avx512(const SiluMulRange& range) noexcept { silu_mul_range(range); }

}  // namespace tessera::ops
