#include "ops/attention/kernels.h"
#include "ops/simd/quads_x86_avx512.h"

#include "ops/simd/math.h"

#include "ops/attention/generic.h"
#include "ops/attention/generic_decode_tiles.h"

namespace tessera::ops {

void attention_f32_x86_avx512(const AttentionBlock& block) noexcept { attend<RowF32>(block); }
void attention_f16_x86_avx512(const AttentionBlock& block) noexcept { attend<RowF16>(block); }
void attention_bf16_x86_avx512(const AttentionBlock& block) noexcept { attend<RowBf16>(block); }
void attention_q8_0_x86_avx512(const AttentionBlock& block) noexcept { attend<TileQ8_0>(block); }

void decode_f32_x86_avx512(const DecodeRun& run) noexcept { decode<FloatProducts<Widened<RowF32>>>(run); }
void decode_f16_x86_avx512(const DecodeRun& run) noexcept { decode<FloatProducts<Widened<RowF16>>>(run); }
void decode_bf16_x86_avx512(const DecodeRun& run) noexcept { decode<FloatProducts<Widened<RowBf16>>>(run); }
void decode_q8_0_x86_avx512(const DecodeRun& run) noexcept { decode<TileFloats>(run); }
void merge_decoded_x86_avx512(const DecodeMerge& head) noexcept { merge_blocks(head); }

}  // namespace tessera::ops
