#include "quant/q5_1.h"

#include <algorithm>

#include "quant/fifth_bit.h"
#include "quant/fit/fit.h"
#include "quant/half.h"

namespace tessera::quant {

void decode(const BlockQ5_1& block, float* x) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  std::uint8_t q[32];
  unpack_five_bits(block.qh, block.qs, q);
  for (int l = 0; l < 32; ++l) x[l] = d * static_cast<float>(q[l]) + m;
}

void encode(const float* x, BlockQ5_1* block) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float m = *low, d = (*high - m) / 31, id = inverse(d);
  block->d = f32_to_f16(d);
  block->m = f32_to_f16(m);
  std::uint8_t q[32];
  for (int l = 0; l < 32; ++l) q[l] = static_cast<std::uint8_t>(clamp((x[l] - m) * id + 0.5f, 0, 31));
  pack_five_bits(q, block->qh, block->qs);
}

void search(const FitKernels& kernels, const float* x, const float* w, BlockQ5_1* block) {
  const HalfLine line = fit_f16_line(kernels, {x, w, 32, 0, 31});
  block->d = line.scale;
  block->m = line.min;
  const float id = inverse(f16_to_f32(line.scale)), m = f16_to_f32(line.min);
  std::uint8_t q[32];
  for (int l = 0; l < 32; ++l) q[l] = static_cast<std::uint8_t>(nearest((x[l] - m) * id, 0, 31));
  pack_five_bits(q, block->qh, block->qs);
}

}  // namespace tessera::quant
