#include "quant/q8_0.h"

#include <algorithm>
#include <cmath>

#include "quant/half.h"

namespace tessera::quant {

void decode(const BlockQ8_0& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int l = 0; l < 32; ++l) x[l] = d * static_cast<float>(block.qs[l]);
}

void encode(const float* x, BlockQ8_0* block) {
  float largest = 0;
  for (int l = 0; l < 32; ++l) largest = std::max(largest, std::fabs(x[l]));
  const float d = largest / 127, id = inverse(d);
  block->d = f32_to_f16(d);
  for (int l = 0; l < 32; ++l) block->qs[l] = static_cast<std::int8_t>(std::round(x[l] * id));
}

}  // namespace tessera::quant
