#include "quant/fit/kernels.h"

namespace {
constexpr int kLanes = 8;
}
#include "quant/fit/generic.h"

namespace tessera::quant {

FitKernels fit_kernels_x86_avx2() noexcept { return kKernels; }

}  // namespace tessera::quant
