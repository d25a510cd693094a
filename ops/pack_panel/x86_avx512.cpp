#include "ops/pack_panel/kernels.h"
#include "ops/simd/columns_x86_avx512.h"

#include "ops/pack_panel/generic.h"

namespace tessera::ops {

void pack_f16_x86_avx512(const PanelRows& panel) noexcept { pack_f16(panel); }
void pack_bf16_x86_avx512(const PanelRows& panel) noexcept { pack_bf16(panel); }
void pack_q8_0_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ8_0>(panel); }
void pack_q4_0_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ4_0>(panel); }
void pack_q4_1_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ4_1>(panel); }
void pack_q5_0_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ5_0>(panel); }
void pack_q5_1_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ5_1>(panel); }
void pack_q4_k_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ4_K>(panel); }
void pack_q5_k_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ5_K>(panel); }
void pack_q6_k_x86_avx512(const PanelRows& panel) noexcept { pack_blocks<kBlockQ6_K>(panel); }

}  // namespace tessera::ops
