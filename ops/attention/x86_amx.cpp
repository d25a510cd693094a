#include "ops/attention/kernels.h"
#include "ops/simd/pairs_x86_avx512bf16.h"
#include "ops/simd/quads_x86_avx512.h"
#include "ops/simd/tiles_x86_amx.h"

#include "ops/simd/math.h"

#include "ops/attention/generic_pair_tiles.h"

namespace tessera::ops {

void attention_segment_x86_amx(const SegmentBlock& block) noexcept { attend_pairs<RowF32, PairTiles>(block); }
void attention_f16_x86_amx(const AttentionBlock& block) noexcept { attend_pairs<RowF16, PairTiles>(block); }
void attention_bf16_x86_amx(const AttentionBlock& block) noexcept { attend_pairs<RowBf16, PairTiles>(block); }
void attention_q8_0_x86_amx(const AttentionBlock& block) noexcept {
  attend_pairs<TileQ8_0, PairTiles>(block);
}

}  // namespace tessera::ops
