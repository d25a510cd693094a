#include "ops/matmul/kernels.h"
#include "ops/simd/pairs_x86_avx512bf16.h"

#include "ops/matmul/generic_panel_pairs.h"

namespace tessera::ops {

void matmul_bf16_panels_x86_avx512bf16(const MatmulTile& tile) noexcept { matmul_panels<PairPanels>(tile); }
void matmul_f16_panels_x86_avx512bf16(const MatmulTile& tile) noexcept {
  matmul_panels<F16AsPairPanels>(tile);
}

}  // namespace tessera::ops
