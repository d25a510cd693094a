#include "quant/q5_0.h"

#include "quant/fifth_bit.h"
#include "quant/fit/fit.h"
#include "quant/half.h"

namespace tessera::quant {

void decode(const BlockQ5_0& block, float* x) {
  const float d = f16_to_f32(block.d);
  std::uint8_t q[32];
  unpack_five_bits(block.qh, block.qs, q);
  for (int l = 0; l < 32; ++l) x[l] = d * static_cast<float>(q[l] - 16);
}

void encode(const float* x, BlockQ5_0* block) {
  const float d = largest_magnitude(x, 32) / -16, id = inverse(d);
  block->d = f32_to_f16(d);
  std::uint8_t q[32];
  for (int l = 0; l < 32; ++l) q[l] = static_cast<std::uint8_t>(clamp(x[l] * id + 16.5f, 0, 31));
  pack_five_bits(q, block->qh, block->qs);
}

void search(const FitKernels& kernels, const float* x, const float* w, BlockQ5_0* block) {
  block->d = fit_f16_scale(kernels, {x, w, 32, -16, 15});
  const float id = inverse(f16_to_f32(block->d));
  std::uint8_t q[32];
  for (int l = 0; l < 32; ++l) q[l] = static_cast<std::uint8_t>(nearest(x[l] * id, -16, 15) + 16);
  pack_five_bits(q, block->qh, block->qs);
}

}  // namespace tessera::quant
