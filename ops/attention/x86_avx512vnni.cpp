#include "ops/attention/kernels.h"
#include "ops/simd/dots_x86_avx512vnni.h"
#include "ops/simd/math.h"

#include "ops/attention/generic_codes.h"

namespace tessera::ops {

void decode_q8_0_x86_avx512vnni(const DecodeRun& run) noexcept { decode<CodeProducts>(run); }

}  // namespace tessera::ops
