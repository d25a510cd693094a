// Attention of one block of query rows over the keys of one key/value head.
//
//   y[p][h] = sum_s w_s v[s] / sum_s w_s,   w_s = e^(scale * q[p][h] . k[s] - largest),   0 <= s < seen(p)
//   seen(p) = visible + p * growth, within [0, keys]
//
// A row is a pair of a position p and a query head h; all rows of a block read the same keys. A row that sees
// no key is zero. A NaN that a row sees makes the row NaN; keys that it does not see cannot touch it. A row
// is the same bits whatever other rows stand in its block, so work may be cut at any position and head.
//
// q and y are f32, k and v of the type of the kernel's row in kernels.inc. Vectors of `dim` elements are
// contiguous and aligned to their elements; of kQ8_0 there are tiles instead (ops/cache_tiles.h) from key 0
// on, aligned to 2 bytes, dim a multiple of 32 and the strides the bytes of a row. y may be q. Arithmetic is
// f32 (the scalar reference: double); kernels of kAvx512Bf16 and kAmx round q times scale and log2(e), k, v
// and weights to bf16, multiply exactly and add in f32, with weights within 7.6e-5. Vector kernels take keys
// in blocks of fixed size from key 0 on, laid out for them in the workspace, and keep a running maximum and
// sum for each row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cache_tiles.h"

namespace tessera::ops {

inline constexpr std::int64_t kAttentionKeys = 64;     // keys that are widened at a time
inline constexpr std::int64_t kAttentionMaxDim = 256;  // largest dim
inline constexpr std::int64_t kAttentionLanes = 16;    // dims are padded to a multiple of this

static constexpr std::int64_t padded_dim(std::int64_t dim) {
  return (dim + kAttentionLanes - 1) / kAttentionLanes * kAttentionLanes;
}

// Most rows of a block. Each lays out its keys and values anew, so they are as many as leave queries and
// outputs, 192 KiB each, in the second-level cache; a multiple of what kernels take at a time.
static constexpr std::int64_t attention_rows(std::int64_t dim) {
  constexpr std::int64_t kTogether = 96, kMost = 8 * kTogether;
  const std::int64_t rows = 49152 / padded_dim(dim) / kTogether * kTogether;
  return rows < kMost ? rows : kMost;
}

struct AttentionBlock {
  const float* q;  // row (p, h) at p * q_stride + h * q_head_stride
  float* y;
  const std::byte *k, *v;                                         // key s at s * k_stride, s * v_stride
  std::int64_t q_stride, q_head_stride, y_stride, y_head_stride;  // in elements
  std::int64_t k_stride, v_stride;                                // in bytes
  std::int64_t positions, heads;                                  // positions * heads <= attention_rows(dim)
  std::int64_t dim;
  std::int64_t visible, growth, keys;  // growth: 1 for causal attention, 0 where all positions see the same
  float scale;
  float* workspace;  // attention_workspace_floats(dim), aligned to 64 bytes
};

// For kernels that round f32 keys and values to bf16: not where a cache was asked to be f32.
struct SegmentBlock : AttentionBlock {};

// Rows of q and y, a block of k and one of v, scores of the few rows that are taken at a time, and for each
// row a sum in lanes, the running maximum, the new one and their factor. 558 KiB at dim 256. Kernels on bf16
// have smaller q, larger blocks, and weights beside the scores.
inline constexpr std::int64_t kAttentionScores = 8192;
static constexpr std::int64_t attention_workspace_floats(std::int64_t dim) {
  const std::int64_t width = padded_dim(dim), rows = attention_rows(dim);
  return 2 * (rows + kAttentionKeys) * width + kAttentionScores + rows * kAttentionLanes +
         3 * (rows + kAttentionLanes);
}

// ---- one position ----
//
// The same for one position and a run of keys, all of them seen, without the division: for each head and each
// block of kDecodeKeys keys of the run a partial result,
//   [values (width) | largest, times log2(e) | sum of weights | unused]
// The partial results of a head are then merged in the order of their keys, so the bits depend on nothing but
// q and the keys, however these are cut into runs of whole blocks. A long run is a long stream of memory.
//
// For kBF16, kernels of kAvx512Bf16 round q times scale and log2(e), and weights, to bf16. For kQ8_0, kernels
// of kAvxVnni and kAvx512Vnni round q to 1 / 16319 of its largest element, and for each 32 dims the products
// of weights and scales of v to 1 / 65535 of the block's largest, and multiply integers.
inline constexpr std::int64_t kDecodeKeys = 256, kDecodeRunKeys = 1024;

static constexpr std::int64_t decode_partial_floats(std::int64_t dim) {
  return padded_dim(dim) + kAttentionLanes;
}

struct DecodeRun {
  const float* q;                   // head h at h * q_head_stride
  const std::byte *k, *v;           // key s at s * k_stride, s * v_stride; key 0 begins a tile
  std::int64_t q_head_stride;       // in elements
  std::int64_t k_stride, v_stride;  // in bytes
  std::int64_t heads, keys, dim;    // keys from 1 to kDecodeRunKeys
  float scale;
  float* partial;  // of head h and block b at h * partial_stride + b * decode_partial_floats(dim)
  std::int64_t partial_stride;   // in elements
  float* workspace;              // decode_workspace_floats(dim), aligned to 64 bytes
  std::int64_t bytes_ahead = 0;  // of keys and values, but of kQ8_0 (Cpu::bytes_ahead)
};

// Of four heads: queries, scores, and queries as operands of dot products, at most 4 bytes a dim.
static constexpr std::int64_t decode_workspace_floats(std::int64_t dim) {
  return 4 * (padded_dim(dim) + kDecodeRunKeys + kAttentionMaxDim);
}

// y = sum_b f_b values_b / sum_b f_b sum_b of one head, f_b = 2^(largest_b - largest); zero without blocks.
struct DecodeMerge {
  const float* partials;  // of block b at b * stride
  std::int64_t stride, blocks, dim;
  float* y;
  float* factors;  // blocks
};

#define TESSERA_KERNEL(level, function, Work, cache) void function(const Work& work) noexcept;
#include "ops/attention/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
