// Groups on vectors of either width. A level gives `Group`: the numbers of one group in registers.
#pragma once

namespace {

inline float of_bits(std::int32_t bits) { return __builtin_bit_cast(float, bits); }

inline void quantize_groups(const float* x, tessera::ops::ActivationGroup* y, std::int64_t groups) {
  for (std::int64_t g = 0; g < groups; ++g, ++y) {
    const Group group(x + g * tessera::ops::kGroupElements);
    const std::int32_t largest = group.largest_bits();
    if (largest >= tessera::ops::kInfiniteBits || largest < tessera::ops::kLeastBits) {
      *y = {};
      if (largest >= tessera::ops::kInfiniteBits) y->d = y->sum = of_bits(0x7FC00000);
      continue;
    }
    const float a = of_bits(largest);
    y->d = a / 127;
    group.round(127 / a, y->q, y->sums);
    y->sum = y->d * static_cast<float>(y->sums[0] + y->sums[1]);
  }
}

}  // namespace
