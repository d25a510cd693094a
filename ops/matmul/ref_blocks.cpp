#include "ops/matmul/kernels.h"
#include "ops/matmul/pack_blocks.h"

namespace tessera::ops {
namespace {

double dot(const ActivationGroup* x, const float* w, std::int64_t groups) {
  double sum = 0;
  for (std::int64_t g = 0; g < groups; ++g, w += kGroupElements) {
    for (int i = 0; i < kGroupElements; ++i) sum += double{x[g].d} * x[g].q[i] * double{w[i]};
  }
  return sum;
}

void product(const MatmulTile& t, DType dtype) {
  const BlockPacking& packing = *find_block_packing(dtype);
  auto* w = static_cast<float*>(t.workspace);
  for (std::int64_t n = 0; n < t.columns; ++n) {
    const std::byte* panel = static_cast<const std::byte*>(t.w) + n / kPanelColumns * t.w_stride;
    decode_column(packing, panel, static_cast<int>(n % kPanelColumns), t.k, w);
    for (std::int64_t m = 0; m < t.rows; ++m) {
      const auto* x = static_cast<const ActivationGroup*>(t.x) + m * t.x_stride;
      const double sum = dot(x, w, t.k / kGroupElements) + (t.bias ? t.bias[n] : 0.0f);
      t.y[m * t.y_stride + n] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void matmul_q8_0_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ8_0); }
void matmul_q4_0_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ4_0); }
void matmul_q4_1_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ4_1); }
void matmul_q5_0_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ5_0); }
void matmul_q5_1_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ5_1); }
void matmul_q4_k_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ4_K); }
void matmul_q5_k_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ5_K); }
void matmul_q6_k_ref(const MatmulTile& tile) noexcept { product(tile, DType::kQ6_K); }

}  // namespace tessera::ops
