// One position over q8_0 keys and values by dot products of integers, which are exact.
//
// A query is rounded once: q[i] ~ step * (128 high[i] + low[i]), step = max |q| / 16319, high in -127 .. 127,
// low in -64 .. 64. Products are summed as integers over 32 dims, for scores, or 256 keys, for values. Lanes
// of scores run along the keys of a tile.
//
// Weights of a head times the scales of the values' blocks are rounded to words, for each 32 dims with a step
// of 1 / 32767 of the largest over the keys of the block: 256 products with codes fit 31 bits.
//
// The three loops stay functions of their own: inlined into one, they take a quarter longer.
#pragma once

#include "ops/attention/generic_decode_tiles.h"

namespace {

constexpr int kTileVectors = kCacheTileRows / kLanes;

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
  for (std::int64_t i = 0; i < dim; i += kCacheBlock) {
    F32 sum = F32::zero();
    for (std::int64_t j = i; j < i + kCacheBlock; j += kLanes) {
      const F32 x = F32::round(F32::load(q + j) * factor);
      const F32 high = F32::round(x * F32::all(1.0f / 128));
      store_i8(high, codes.high + j);
      store_i8(F32::fma(high, F32::all(-128.0f), x), codes.low + j);
      sum = sum + x;
    }
    const float total = sum.sum();  // NaN makes the step NaN, too
    codes.start[i / kCacheBlock] = total == total ? -static_cast<std::int32_t>(total) : 0;
  }
  codes.step = largest / kLargest + nothing.sum();
}

// Adds the products of block b of each query with the same of a tile's keys.
template <int kHeads>
inline void add_block(const QueryCodes* queries, std::int64_t b, const TileQ8_0& tile, std::int64_t ahead,
                      F32 (&scores)[kHeads][kTileVectors]) {
  I32 high[kHeads][kTileVectors], low[kHeads][kTileVectors];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
    for (int j = 0; j < kTileVectors; ++j) {
      high[h][j] = I32::all(queries[h].start[b]);
      low[h][j] = I32::all(0);
    }
  }
#pragma GCC unroll 8
  for (std::int64_t d = b * kCacheBlock; d < (b + 1) * kCacheBlock; d += 4) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(tile.tile + tessera::ops::key_code_at(0, d));
    Quads codes[kTileVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kTileVectors; ++j) {
      codes[j] = Quads::load(at + 4 * kLanes * j);
      __builtin_prefetch(at + 4 * kLanes * j + ahead);
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const Quads q = Quads::all(queries[h].high + d), rest = Quads::all(queries[h].low + d);
#pragma GCC unroll 2
      for (int j = 0; j < kTileVectors; ++j) {
        high[h][j] = add_dots(high[h][j], codes[j], q);
        low[h][j] = add_dots(low[h][j], codes[j], rest);
      }
    }
  }
  const std::uint16_t* scales = tile.scales(0, b * kCacheBlock);
#pragma GCC unroll 2
  for (int j = 0; j < kTileVectors; ++j) {
    const F32 scale = F32::load_f16(scales + j * kLanes);
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const I32 sum = shifted_left<7>(high[h][j]) + low[h][j];
      scores[h][j] = F32::fma(sum.to_f32(), scale, scores[h][j]);
    }
  }
}

// Scores of a tile's keys from `first` on.
template <int kHeads>
[[gnu::noinline]] void score_codes(const DecodeRun& run, const DecodeSpace& w, std::int64_t first) {
  const TileQ8_0 keys{run.k + first * run.k_stride, run.dim};
  const auto* queries = reinterpret_cast<const QueryCodes*>(w.parts);
  F32 scores[kHeads][kTileVectors];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
    for (int j = 0; j < kTileVectors; ++j) scores[h][j] = F32::zero();
  }
  const std::int64_t ahead = tiles_ahead(run.k_stride);
  for (std::int64_t b = 0; b < run.dim / kCacheBlock; ++b) {
    ask_for_scales(run, first, b * kCacheBlock);
    add_block<kHeads>(queries, b, keys, ahead, scores);
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
    for (int j = 0; j < kTileVectors; ++j) {
      (scores[h][j] * F32::all(queries[h].step)).store(w.scores + h * kDecodeRunKeys + first + j * kLanes);
    }
  }
}

// Words of a block, zero beyond its keys up to two vectors, and their steps: NaN where a scale is not finite.
struct WordWeights {
  alignas(64) std::int16_t words[kMostBlocks][4][kDecodeKeys];
  float step[kMostBlocks][4];
};

template <int kHeads>
[[gnu::noinline]] void round_weights(const DecodeBlock& block, WordWeights& out) {
  const auto weights = [&](int h, std::int64_t s) {
    return F32::load(block.scores + h * kDecodeRunKeys + s);
  };
  for (std::int64_t b = 0; b < block.dim / kCacheBlock; ++b) {
    const std::int64_t dim = b * kCacheBlock;
    F32 nothing = F32::zero(), top[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) top[h] = F32::zero();
    for (std::int64_t s = 0; s < block.keys; s += kLanes) {
      const F32 scale = load_scales(block, s, dim), size = F32::abs(scale);
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
    // Meanwhile the codes of a tile come: four for each key.
    const std::byte* next = block.v + tiles_ahead(block.v_stride) + tessera::ops::value_code_at(0, dim);
    for (std::int64_t s = 0; s < block.keys; s += 2 * kLanes) {
      for (std::int64_t i = s; i < s + 2 * kLanes; i += 16) __builtin_prefetch(next + 4 * i);
      const F32 low = load_scales(block, s, dim), high = load_scales(block, s + kLanes, dim);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        store_i16(weights(h, s) * low * factor[h], weights(h, s + kLanes) * high * factor[h],
                  out.words[b][h] + s);
      }
    }
  }
}

// Adds words times codes of the tile from key `first` on to y, integers there, for kBlocks blocks from b on.
template <int kHeads, int kBlocks>
[[gnu::noinline]] void add_codes(const DecodeBlock& block, const WordWeights& weights, std::int64_t first,
                                 std::int64_t b) {
  const auto y = [&](int i) {
    return block.y + i / 2 % kHeads * block.y_stride + (b + i / (kHeads * 2)) * kCacheBlock + i % 2 * kLanes;
  };
  I32 sum[kBlocks][kHeads][2];
#pragma GCC unroll 16
  for (int i = 0; i < kBlocks * kHeads * 2; ++i) {
    sum[i / (kHeads * 2)][i / 2 % kHeads][i % 2] = load_i32(y(i));
  }
  const std::int64_t ahead = tiles_ahead(block.v_stride);
  const std::byte* tile = block.v + first * block.v_stride;
  const auto* codes =
      reinterpret_cast<const std::int8_t*>(tile + tessera::ops::value_code_at(0, b * kCacheBlock));
  const std::int64_t pairs = (smaller(kCacheTileRows, block.keys - first) + 1) / 2;
  for (std::int64_t pair = 0; pair < pairs; ++pair, codes += 2 * kCacheBlock) {
#pragma GCC unroll 2
    for (int j = 0; j < kBlocks; ++j) {
      const std::int8_t* at = codes + j * tessera::ops::kCacheBlockCodes;
      __builtin_prefetch(at + ahead);
      const Words low = Words::load(at), high = Words::load(at + 2 * kLanes);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Words weight = Words::all(weights.words[b + j][h] + first + 2 * pair);
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
struct CodeProducts : TileProducts {
  template <int kHeads>
  static constexpr int kTileKeys = kCacheTileRows;

  template <int kHeads>
  static void begin(const DecodeRun& run, const DecodeSpace& w) {
    auto* queries = reinterpret_cast<QueryCodes*>(w.parts);
    for (int h = 0; h < kHeads; ++h) round_query(w.q + h * w.width, run.dim, queries[h]);
  }
  template <int kHeads>
  static void score(const DecodeRun& run, const DecodeSpace& w, std::int64_t first) {
    score_codes<kHeads>(run, w, first);
  }
  template <int kHeads>
  static void add(const DecodeBlock& block) {
    WordWeights weights;
    round_weights<kHeads>(block, weights);
    const std::int64_t blocks = block.dim / kCacheBlock;
    for (std::int64_t s = 0; s < block.keys; s += kCacheTileRows) {
      std::int64_t b = 0;
      for (; b + 2 <= blocks; b += 2) add_codes<kHeads, 2>(block, weights, s, b);
      for (; b < blocks; ++b) add_codes<kHeads, 1>(block, weights, s, b);
    }
    for (int h = 0; h < kHeads; ++h) {
      float* y = block.y + h * block.y_stride;
      for (std::int64_t i = 0; i < block.dim; i += kLanes) {
        (load_i32(y + i).to_f32() * F32::all(weights.step[i / kCacheBlock][h])).store(y + i);
      }
    }
  }
};

}  // namespace
