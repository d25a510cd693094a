#include <algorithm>
#include <bit>
#include <limits>

#include "ops/quantize_rows/kernels.h"
#include "quant/block.h"

namespace tessera::ops {
namespace {

ActivationGroup quantize(const float* x) {
  std::int32_t largest = 0;  // bits of magnitudes are ordered as the magnitudes, NaN above all
  for (int i = 0; i < kGroupElements; ++i) {
    largest = std::max(largest, std::bit_cast<std::int32_t>(x[i]) & 0x7FFFFFFF);
  }
  ActivationGroup group{};
  if (largest >= kInfiniteBits) group.d = group.sum = std::numeric_limits<float>::quiet_NaN();
  if (largest >= kInfiniteBits || largest < kLeastBits) return group;
  const float a = std::bit_cast<float>(largest), inverse = 127 / a;
  group.d = a / 127;
  for (int i = 0; i < kGroupElements; ++i) {
    group.q[i] = static_cast<std::int8_t>(quant::round_even(x[i] * inverse));
    group.sums[i / 16] += group.q[i];
  }
  group.sum = group.d * static_cast<float>(group.sums[0] + group.sums[1]);
  return group;
}

}  // namespace

void quantize_rows_ref(const float* x, ActivationGroup* y, std::int64_t groups) noexcept {
  for (std::int64_t g = 0; g < groups; ++g) y[g] = quantize(x + g * kGroupElements);
}

}  // namespace tessera::ops
