#include "quant/fit/kernels.h"

namespace {
constexpr int kLanes = 16;
}
#include "quant/fit/generic.h"

namespace tessera::quant {

FitKernels fit_kernels_x86_avx512() noexcept { return kKernels; }

}  // namespace tessera::quant
