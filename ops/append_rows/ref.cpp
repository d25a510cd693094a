#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/append_rows/kernels.h"
#include "quant/half.h"
#include "quant/q8_0.h"

namespace tessera::ops {

void append_rows_f32_ref(const float* x, std::int64_t n, std::byte* y) noexcept {
  std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(float));
}

void append_rows_f16_ref(const float* x, std::int64_t n, std::byte* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i, y += 2) {
    const std::uint16_t half = quant::f32_to_f16(x[i]);
    std::memcpy(y, &half, sizeof half);
  }
}

void append_rows_bf16_ref(const float* x, std::int64_t n, std::byte* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i, y += 2) {
    const std::uint16_t half = quant::f32_to_bf16(x[i]);
    std::memcpy(y, &half, sizeof half);
  }
}

void append_rows_q8_0_ref(const float* x, std::int64_t n, std::byte* y) noexcept {
  using Block = quant::BlockQ8_0;
  for (std::int64_t i = 0; i < n; i += Block::kElems, y += sizeof(Block)) {
    Block block{0x7E00, {}};  // NaN
    // The encoder takes finite numbers only.
    if (std::all_of(x + i, x + i + Block::kElems, [](float value) { return std::isfinite(value); })) {
      quant::encode(x + i, &block);
    }
    std::memcpy(y, &block, sizeof block);
  }
}

}  // namespace tessera::ops
