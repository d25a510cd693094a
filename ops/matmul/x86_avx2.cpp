#include "ops/simd/x86_avx2.h"
#include "ops/matmul/kernels.h"

#include "ops/matmul/generic_panels.h"
#include "ops/matmul/generic_rows.h"

namespace tessera::ops {

void matmul_f32_x86_avx2(const MatmulTile& tile) noexcept { matmul_rows<F32Rows>(tile); }
void matmul_f16_x86_avx2(const MatmulTile& tile) noexcept { matmul_rows<F16Rows>(tile); }
void matmul_bf16_x86_avx2(const MatmulTile& tile) noexcept { matmul_rows<Bf16Rows>(tile); }
void matmul_f16_panels_x86_avx2(const MatmulTile& tile) noexcept { matmul_panels<F16Panels>(tile); }
void matmul_bf16_panels_x86_avx2(const MatmulTile& tile) noexcept { matmul_panels<Bf16Panels>(tile); }

}  // namespace tessera::ops
