#include "ops/simd/x86_avx512.h"
#include "ops/rms_norm/kernels.h"

#include "ops/rms_norm/generic.h"

namespace tessera::ops {

void rms_norm_x86_avx512(const RmsNormRows& rows, std::int64_t count) noexcept { rms_norm_rows(rows, count); }

}  // namespace tessera::ops
