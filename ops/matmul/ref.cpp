#include "ops/matmul/kernels.h"
#include "quant/half.h"

namespace tessera::ops {
namespace {

// Where w[n][k] stands, counted in elements from the tile's first.
std::int64_t in_row(const MatmulTile& t, std::int64_t n, std::int64_t k, std::int64_t bytes) {
  return n * (t.w_stride / bytes) + k;
}
std::int64_t in_panel(const MatmulTile& t, std::int64_t n) { return n / kPanelColumns * (t.w_stride / 2); }

float f32_row(const MatmulTile& t, std::int64_t n, std::int64_t k) {
  return static_cast<const float*>(t.w)[in_row(t, n, k, 4)];
}
float f16_row(const MatmulTile& t, std::int64_t n, std::int64_t k) {
  return quant::f16_to_f32(static_cast<const std::uint16_t*>(t.w)[in_row(t, n, k, 2)]);
}
float bf16_row(const MatmulTile& t, std::int64_t n, std::int64_t k) {
  return quant::bf16_to_f32(static_cast<const std::uint16_t*>(t.w)[in_row(t, n, k, 2)]);
}
float f16_panel(const MatmulTile& t, std::int64_t n, std::int64_t k) {
  const std::int64_t at = in_panel(t, n) + k * kPanelColumns + n % kPanelColumns;
  return quant::f16_to_f32(static_cast<const std::uint16_t*>(t.w)[at]);
}
float bf16_panel(const MatmulTile& t, std::int64_t n, std::int64_t k) {
  const std::int64_t at = in_panel(t, n) + (k / 2 * kPanelColumns + n % kPanelColumns) * 2 + k % 2;
  return quant::bf16_to_f32(static_cast<const std::uint16_t*>(t.w)[at]);
}

template <auto weight>
void product(const MatmulTile& t) {
  for (std::int64_t m = 0; m < t.rows; ++m) {
    const float* x = static_cast<const float*>(t.x) + m * t.x_stride;
    for (std::int64_t n = 0; n < t.columns; ++n) {
      double sum = 0;
      for (std::int64_t k = 0; k < t.k; ++k) sum += double{x[k]} * weight(t, n, k);
      if (t.bias) sum += t.bias[n];
      t.y[m * t.y_stride + n] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void matmul_f32_ref(const MatmulTile& tile) noexcept { product<f32_row>(tile); }
void matmul_f16_ref(const MatmulTile& tile) noexcept { product<f16_row>(tile); }
void matmul_bf16_ref(const MatmulTile& tile) noexcept { product<bf16_row>(tile); }
void matmul_f16_panels_ref(const MatmulTile& tile) noexcept { product<f16_panel>(tile); }
void matmul_bf16_panels_ref(const MatmulTile& tile) noexcept { product<bf16_panel>(tile); }

}  // namespace tessera::ops
