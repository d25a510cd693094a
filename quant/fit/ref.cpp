#include "quant/fit/kernels.h"

namespace {
constexpr int kLanes = 4;  // what every CPU has, or the compiler makes of its own
}
#include "quant/fit/generic.h"

namespace tessera::quant {

FitKernels fit_kernels_ref() noexcept { return kKernels; }

}  // namespace tessera::quant
