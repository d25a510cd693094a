#include "quant/q4_0.h"

#include "quant/fit/fit.h"
#include "quant/half.h"

namespace tessera::quant {

void decode(const BlockQ4_0& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int j = 0; j < 16; ++j) {
    x[j] = d * static_cast<float>((block.qs[j] & 15) - 8);
    x[j + 16] = d * static_cast<float>((block.qs[j] >> 4) - 8);
  }
}

void encode(const float* x, BlockQ4_0* block) {
  const float d = largest_magnitude(x, 32) / -8, id = inverse(d);
  const auto code = [&](int l) { return static_cast<int>(clamp(x[l] * id + 8.5f, 0, 15)); };
  block->d = f32_to_f16(d);
  for (int j = 0; j < 16; ++j) block->qs[j] = static_cast<std::uint8_t>(code(j) | code(j + 16) << 4);
}

void search(const FitKernels& kernels, const float* x, const float* w, BlockQ4_0* block) {
  block->d = fit_f16_scale(kernels, {x, w, 32, -8, 7});
  const float id = inverse(f16_to_f32(block->d));
  const auto code = [&](int l) { return nearest(x[l] * id, -8, 7) + 8; };
  for (int j = 0; j < 16; ++j) block->qs[j] = static_cast<std::uint8_t>(code(j) | code(j + 16) << 4);
}

}  // namespace tessera::quant
