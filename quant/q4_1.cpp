#include "quant/q4_1.h"

#include <algorithm>

#include "quant/fit/fit.h"
#include "quant/half.h"

namespace tessera::quant {

void decode(const BlockQ4_1& block, float* x) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int j = 0; j < 16; ++j) {
    x[j] = d * static_cast<float>(block.qs[j] & 15) + m;
    x[j + 16] = d * static_cast<float>(block.qs[j] >> 4) + m;
  }
}

void encode(const float* x, BlockQ4_1* block) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float m = *low, d = (*high - m) / 15, id = inverse(d);
  const auto code = [&](int l) { return static_cast<int>(clamp((x[l] - m) * id + 0.5f, 0, 15)); };
  block->d = f32_to_f16(d);
  block->m = f32_to_f16(m);
  for (int j = 0; j < 16; ++j) block->qs[j] = static_cast<std::uint8_t>(code(j) | code(j + 16) << 4);
}

void search(const FitKernels& kernels, const float* x, const float* w, BlockQ4_1* block) {
  const HalfLine line = fit_f16_line(kernels, {x, w, 32, 0, 15});
  block->d = line.scale;
  block->m = line.min;
  const float id = inverse(f16_to_f32(line.scale)), m = f16_to_f32(line.min);
  const auto code = [&](int l) { return nearest((x[l] - m) * id, 0, 15); };
  for (int j = 0; j < 16; ++j) block->qs[j] = static_cast<std::uint8_t>(code(j) | code(j + 16) << 4);
}

}  // namespace tessera::quant
