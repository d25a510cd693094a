// One position over q8_0 keys and values by dot products of integers, which are exact.
//
// A query is rounded once: q[i] ~ step * (128 high[i] + low[i]), step = max |q| / 16319, high in -127 .. 127,
// low in -64 .. 64. Products are summed as integers over 32 dims, for scores, or 256 keys, for values. Lanes
// of scores run along the keys, whose codes are transposed for it.
//
// Weights of a head times the scales of the values' blocks are rounded to words, for each 32 dims with a step
// of 1 / 32767 of the largest over the keys of the block: 256 products with codes fit 31 bits.
#pragma once

#include "ops/attention/generic_decode.h"

namespace {

constexpr std::int64_t kMostBlocks = tessera::ops::kAttentionMaxDim / Codes::kBlockElements;

// start: what takes the offset of the codes off, a 128th of it. step is NaN where an element is not finite.
struct QueryCodes {
  std::int8_t high[tessera::ops::kAttentionMaxDim], low[tessera::ops::kAttentionMaxDim];
  std::int32_t start[kMostBlocks];
  float step;
};
static_assert(sizeof(QueryCodes) <= sizeof(float) * tessera::ops::kAttentionMaxDim);

inline void round_query(const float* q, std::int64_t dim, QueryCodes& codes) {
  constexpr float kLargest = 127 * 128 + 63;
  F32 top = F32::zero(), nothing = F32::zero();
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    const F32 x = F32::load(q + i);
    top = F32::max(F32::abs(x), top);
    nothing = F32::fma(x, F32::zero(), nothing);  // NaN if x is not finite
  }
  // A step of zero would make NaN of -inf, and its inverse be infinite.
  const float largest = top.largest() > 1e-30f ? top.largest() : 1e-30f;
  const F32 factor = F32::all(kLargest / largest);
  for (std::int64_t i = 0; i < dim; i += Codes::kBlockElements) {
    F32 sum = F32::zero();
    for (std::int64_t j = i; j < i + Codes::kBlockElements; j += kLanes) {
      const F32 x = F32::round(F32::load(q + j) * factor);
      const F32 high = F32::round(x * F32::all(1.0f / 128));
      store_i8(high, codes.high + j);
      store_i8(F32::fma(high, F32::all(-128.0f), x), codes.low + j);
      sum = sum + x;
    }
    const float total = sum.sum();  // NaN makes the step NaN, too
    codes.start[i / Codes::kBlockElements] = total == total ? -static_cast<std::int32_t>(total) : 0;
  }
  codes.step = largest / kLargest + nothing.sum();
}

// Scales of a row's blocks, to column s.
template <std::int64_t kColumns>
inline void copy_scales(const std::byte* row, std::int64_t blocks, std::int64_t s,
                        std::uint16_t (&scales)[kMostBlocks][kColumns]) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    __builtin_memcpy(&scales[b][s], row + b * Codes::kBlockBytes, 2);
  }
}

// Adds the products of block b of each query with the same of kLanes keys.
template <int kHeads>
inline void add_block(const QueryCodes* queries, std::int64_t b, const Quads* codes, F32 scales,
                      F32* scores) {
  I32 high[kHeads], low[kHeads];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    high[h] = I32::all(queries[h].start[b]);
    low[h] = I32::all(0);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Codes::kBlockElements / 4; ++i) {
    const std::int64_t at = b * Codes::kBlockElements + 4 * i;
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      high[h] = add_dots(high[h], codes[i], Quads::all(queries[h].high + at));
      low[h] = add_dots(low[h], codes[i], Quads::all(queries[h].low + at));
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    scores[h] = F32::fma((shifted_left<7>(high[h]) + low[h]).to_f32(), scales, scores[h]);
  }
}

// Scores of kLanes keys from `first` on; keys beyond the run's repeat its last.
template <int kHeads>
inline void score_codes(const DecodeRun& run, const DecodeSpace& w, std::int64_t first) {
  prefetch_rows(run.v + first * run.v_stride, kLanes, run.v_stride, RowQ8_0::bytes(run.dim));
  const std::int64_t blocks = run.dim / Codes::kBlockElements;
  const auto* queries = reinterpret_cast<const QueryCodes*>(w.parts);
  const std::byte* rows[kLanes];
  std::uint16_t scales[kMostBlocks][kLanes];
  for (int j = 0; j < kLanes; ++j) {
    rows[j] = run.k + smaller(first + j, run.keys - 1) * run.k_stride;
    copy_scales(rows[j], blocks, j, scales);
  }
  F32 scores[kHeads];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) scores[h] = F32::zero();
  Quads codes[kLanes];
  std::int64_t b = 0;
  for (; b + 2 <= blocks; b += 2) {
    Codes::load_two(rows, b * Codes::kBlockBytes, codes);
    add_block<kHeads>(queries, b, codes, F32::load_f16(scales[b]), scores);
    add_block<kHeads>(queries, b + 1, codes + Codes::kBlockElements / 4, F32::load_f16(scales[b + 1]),
                      scores);
  }
  if (b < blocks) {
    Codes::load_one(rows, b * Codes::kBlockBytes, codes);
    add_block<kHeads>(queries, b, codes, F32::load_f16(scales[b]), scores);
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    (scores[h] * F32::all(queries[h].step)).store(w.scores + h * kDecodeRunKeys + first);
  }
}

// Keys whose values are gone through at a time: 8.5 KiB where dim is 128.
constexpr std::int64_t kCodeStripKeys = 64;

// Words of a block, zero beyond its keys up to two vectors, and their steps: NaN where a scale is not finite.
struct WordWeights {
  alignas(64) std::int16_t words[kMostBlocks][4][kDecodeKeys];
  float step[kMostBlocks][4];
};

template <int kHeads>
inline void round_weights(const DecodeBlock& block, WordWeights& out) {
  const std::int64_t blocks = block.dim / Codes::kBlockElements;
  std::uint16_t scales[kMostBlocks][kDecodeKeys];
  for (std::int64_t s = 0; s < block.keys; ++s) {
    copy_scales(block.v + s * block.v_stride, blocks, s, scales);
  }
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t s = block.keys; s % (2 * kLanes) != 0; ++s) scales[b][s] = 0;
  }
  const auto weights = [&](int h, std::int64_t s) {
    return F32::load(block.scores + h * kDecodeRunKeys + s);
  };
  for (std::int64_t b = 0; b < blocks; ++b) {
    F32 nothing = F32::zero(), top[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) top[h] = F32::zero();
    for (std::int64_t s = 0; s < block.keys; s += kLanes) {
      const F32 scale = F32::load_f16(scales[b] + s), size = F32::abs(scale);
      nothing = F32::fma(scale, F32::zero(), nothing);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) top[h] = F32::max(weights(h, s) * size, top[h]);
    }
    const float bad = nothing.sum();
    F32 factor[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const float largest = top[h].largest();
      // The inverse of a smaller one would not be finite.
      factor[h] = F32::all(largest > 1e-33f ? 32767 / largest : 0.0f);
      out.step[b][h] = largest / 32767 + bad;
    }
    for (std::int64_t s = 0; s < block.keys; s += 2 * kLanes) {
      const F32 low = F32::load_f16(scales[b] + s), high = F32::load_f16(scales[b] + s + kLanes);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        store_i16(weights(h, s) * low * factor[h], weights(h, s + kLanes) * high * factor[h],
                  out.words[b][h] + s);
      }
    }
  }
}

// Adds words times codes of keys [first, last) to y, integers there, for kBlocks blocks from b on.
template <int kHeads, int kBlocks>
inline void add_codes(const DecodeBlock& block, const WordWeights& weights, std::int64_t first,
                      std::int64_t last, std::int64_t b) {
  const auto y = [&](int i) {
    return block.y + i / 2 % kHeads * block.y_stride + (b + i / (kHeads * 2)) * Codes::kBlockElements +
           i % 2 * kLanes;
  };
  I32 sum[kBlocks][kHeads][2];
#pragma GCC unroll 16
  for (int i = 0; i < kBlocks * kHeads * 2; ++i) {
    sum[i / (kHeads * 2)][i / 2 % kHeads][i % 2] = load_i32(y(i));
  }
  const std::byte* codes = block.v + b * Codes::kBlockBytes;
  for (std::int64_t s = first; s < last; s += 2) {
    const std::byte* next = block.k + (s + kDecodeKeys) * block.k_stride + b * Codes::kBlockBytes;
    prefetch_rows(next, 2, block.k_stride, kBlocks * Codes::kBlockBytes);
    const std::byte* even = codes + s * block.v_stride;
    const std::byte* odd = codes + smaller(s + 1, block.keys - 1) * block.v_stride;
#pragma GCC unroll 2
    for (int j = 0; j < kBlocks; ++j) {
      Words low, high;
      Words::load(even + j * Codes::kBlockBytes, odd + j * Codes::kBlockBytes, low, high);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Words weight = Words::all(weights.words[b + j][h] + s);
        sum[j][h][0] = add_dots(sum[j][h][0], low, weight);
        sum[j][h][1] = add_dots(sum[j][h][1], high, weight);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kBlocks * kHeads * 2; ++i) {
    store_i32(sum[i / (kHeads * 2)][i / 2 % kHeads][i % 2], y(i));
  }
}

// The way of decoding that multiplies codes.
struct CodeProducts {
  static constexpr std::int64_t kPhaseKeys = kDecodeKeys;
  template <int kHeads>
  static constexpr int kTileKeys = kLanes;

  template <int kHeads>
  static void begin(const DecodeRun& run, const DecodeSpace& w) {
    auto* queries = reinterpret_cast<QueryCodes*>(w.parts);
    for (int h = 0; h < kHeads; ++h) round_query(w.q + h * w.width, run.dim, queries[h]);
  }
  template <int kHeads>
  static void score(const DecodeRun& run, const DecodeSpace& w, std::int64_t first) {
    score_codes<kHeads>(run, w, first);
  }
  static F32 keep_weights(F32 low, F32 high, float* weights, std::int64_t i, F32 sum) {
    return keep_floats(low, high, weights, i, sum);
  }
  template <int kHeads>
  static void add(const DecodeBlock& block) {
    WordWeights weights;
    round_weights<kHeads>(block, weights);
    const std::int64_t blocks = block.dim / Codes::kBlockElements;
    for (std::int64_t s = 0; s < block.keys; s += kCodeStripKeys) {
      const std::int64_t last = smaller(s + kCodeStripKeys, block.keys);
      std::int64_t b = 0;
      for (; b + 2 <= blocks; b += 2) add_codes<kHeads, 2>(block, weights, s, last, b);
      for (; b < blocks; ++b) add_codes<kHeads, 1>(block, weights, s, last, b);
    }
    for (int h = 0; h < kHeads; ++h) {
      float* y = block.y + h * block.y_stride;
      for (std::int64_t b = 0; b < blocks; ++b, y += Codes::kBlockElements) {
        const F32 step = F32::all(weights.step[b][h]);
        F32 low = load_i32(y).to_f32() * step, high = load_i32(y + kLanes).to_f32() * step;
        Words::order(low, high);
        low.store(y);
        high.store(y + kLanes);
      }
    }
  }
};

}  // namespace
