#include "ops/matmul/kernels.h"
#include "ops/simd/dots_x86_avx512vnni.h"
#include "ops/simd/pairs_x86_avx512bf16.h"
#include "ops/simd/tiles_x86_amx.h"

#include "ops/matmul/generic_tiles.h"

namespace tessera::ops {

void matmul_bf16_panels_x86_amx(const MatmulTile& tile) noexcept {
  multiply_tiles(tile, FloatInputs{tile}, Bf16Weights{tile});
}

void matmul_f16_panels_x86_amx(const MatmulTile& tile) noexcept {
  multiply_tiles(tile, FloatInputs{tile}, F16Weights{tile});
}

void matmul_q8_0_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ8_0>(tile); }
void matmul_q4_0_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ4_0>(tile); }
void matmul_q4_1_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ4_1>(tile); }
void matmul_q5_0_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ5_0>(tile); }
void matmul_q5_1_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ5_1>(tile); }
void matmul_q4_k_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ4_K>(tile); }
void matmul_q5_k_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ5_K>(tile); }
void matmul_q6_k_x86_amx(const MatmulTile& tile) noexcept { multiply_block_tiles<kBlockQ6_K>(tile); }

}  // namespace tessera::ops
