#include "ops/attention/kernels.h"
#include "ops/simd/pairs_x86_avx512bf16.h"
#include "ops/simd/quads_x86_avx512.h"

#include "ops/simd/math.h"

#include "ops/attention/generic_decode_pairs.h"

namespace tessera::ops {

void attention_segment_x86_avx512bf16(const SegmentBlock& block) noexcept {
  attend_pairs<RowF32, PairVectors>(block);
}
void attention_f16_x86_avx512bf16(const AttentionBlock& block) noexcept {
  attend_pairs<RowF16, PairVectors>(block);
}
void attention_bf16_x86_avx512bf16(const AttentionBlock& block) noexcept {
  attend_pairs<RowBf16, PairVectors>(block);
}
void attention_q8_0_x86_avx512bf16(const AttentionBlock& block) noexcept {
  attend_pairs<TileQ8_0, PairVectors>(block);
}

void decode_bf16_x86_avx512bf16(const DecodeRun& run) noexcept { decode<FloatProducts<PairUnits>>(run); }

}  // namespace tessera::ops
