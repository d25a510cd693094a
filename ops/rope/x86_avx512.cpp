#include "ops/simd/x86_avx512.h"
#include "ops/rope/kernels.h"

#include "ops/rope/generic.h"

namespace tessera::ops {

void rope_x86_avx512(const RopeToken& token) noexcept { rope_token(token); }

}  // namespace tessera::ops
