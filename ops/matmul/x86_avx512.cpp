#include "ops/matmul/kernels.h"
#include "ops/simd/dots_x86_avx512.h"

#include "ops/matmul/generic_blocks.h"
#include "ops/matmul/generic_panels.h"
#include "ops/matmul/generic_rows.h"

namespace tessera::ops {

void matmul_f32_x86_avx512(const MatmulTile& tile) noexcept { matmul_rows<F32Rows>(tile); }
void matmul_f16_x86_avx512(const MatmulTile& tile) noexcept { matmul_rows<F16Rows>(tile); }
void matmul_bf16_x86_avx512(const MatmulTile& tile) noexcept { matmul_rows<Bf16Rows>(tile); }
void matmul_f16_panels_x86_avx512(const MatmulTile& tile) noexcept { matmul_panels<F16Panels>(tile); }
void matmul_bf16_panels_x86_avx512(const MatmulTile& tile) noexcept { matmul_panels<Bf16Panels>(tile); }

void matmul_q8_0_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ8_0>(tile); }
void matmul_q4_0_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ4_0>(tile); }
void matmul_q4_1_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ4_1>(tile); }
void matmul_q5_0_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ5_0>(tile); }
void matmul_q5_1_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ5_1>(tile); }
void matmul_q4_k_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ4_K>(tile); }
void matmul_q5_k_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ5_K>(tile); }
void matmul_q6_k_x86_avx512(const MatmulTile& tile) noexcept { matmul_blocks<kBlockQ6_K>(tile); }

}  // namespace tessera::ops
