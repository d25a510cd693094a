// One position over q8_0 keys and values by dot products of integers, which are exact.
//
// A query is rounded once: q[i] ~ step * (128 high[i] + low[i]), step = max |q| / 16319, high in -127 .. 127,
// low in -64 .. 64. Products are summed as integers over 32 dims, for scores, or 256 keys, for values. Lanes
// of scores run along the keys of a tile.
//
// Weights of a head times the scales of the values' blocks are rounded to 256 high + low, for each 32 dims
// with a step of 1 / 65535 of the largest over the keys of the block: 256 products with codes fit 31 bits.
// Four keys of a dim are summed in a lane.
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

// Weights of a block as bytes, zero beyond its keys up to two vectors: of each tile the high ones, then the
// low ones, four of which are a quad. Steps are NaN where a scale is not finite.
struct ByteWeights {
  alignas(64) std::uint8_t bytes[kMostBlocks][4][kDecodeKeys / kCacheTileRows][2][kCacheTileRows];
  float step[kMostBlocks][4];
};

// Of kBlocks blocks from b on.
template <int kHeads, int kBlocks>
[[gnu::noinline]] void round_weights(const DecodeBlock& block, std::int64_t b, ByteWeights& out) {
  constexpr float kLargest = 65535;
  const auto weights = [&](int h, std::int64_t s) {
    return F32::load(block.scores + h * kDecodeRunKeys + s);
  };
  float scales[kBlocks][kDecodeKeys];
  F32 nothing[kBlocks], top[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) top[i] = F32::zero();
#pragma GCC unroll 2
  for (int j = 0; j < kBlocks; ++j) nothing[j] = F32::zero();
  for (std::int64_t first = 0; first < block.keys; first += kCacheTileRows) {
    const TileQ8_0 tile{block.v + first * block.v_stride, block.dim};
#pragma GCC unroll 2
    for (std::int64_t r = 0; r < kCacheTileRows; r += kLanes) {
      const std::int64_t s = first + r;
#pragma GCC unroll 2
      for (int j = 0; j < kBlocks; ++j) {
        const F32 scale = load_scales(tile.scales(r, (b + j) * kCacheBlock), block.keys - s);
        scale.store(scales[j] + s);
        nothing[j] = F32::fma(scale, F32::zero(), nothing[j]);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          top[j * kHeads + h] = F32::max(weights(h, s) * scale, top[j * kHeads + h]);
        }
      }
    }
  }
  F32::transpose(top);
  // The inverse of a smaller one would not be finite.
  F32 largest = F32::all(1e-33f);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) largest = F32::max(top[i], largest);
  float factors[kLanes], steps[kLanes];
  (F32::all(kLargest) / largest).store(factors);
  (largest * F32::all(1 / kLargest)).store(steps);
  F32 factor[kBlocks][kHeads];
#pragma GCC unroll 2
  for (int j = 0; j < kBlocks; ++j) {
    const float bad = nothing[j].sum();
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      factor[j][h] = F32::all(factors[j * kHeads + h]);
      out.step[b + j][h] = steps[j * kHeads + h] + bad;
    }
  }
  // Meanwhile the codes of a tile come: four for each key.
  const std::byte* next =
      block.v + tiles_ahead(block.v_stride) + tessera::ops::value_code_at(0, b * kCacheBlock);
  for (std::int64_t s = 0; s < block.keys; s += kCacheTileRows) {
#pragma GCC unroll 2
    for (int j = 0; j < kBlocks; ++j) {
      for (std::int64_t i = s; i < s + kCacheTileRows; i += 16) {
        __builtin_prefetch(next + tessera::ops::kCacheBlockCodes * j + 4 * i);
      }
      const F32 low = F32::load(scales[j] + s), high = F32::load(scales[j] + s + kLanes);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        store_bytes(weights(h, s) * low * factor[j][h], weights(h, s + kLanes) * high * factor[j][h],
                    out.bytes[b + j][h][s / kCacheTileRows][0]);
      }
    }
  }
}

// Adds weights times codes of block b of the tile from key `first` on to y, integers there.
template <int kHeads>
[[gnu::noinline]] void add_codes(const DecodeBlock& block, const ByteWeights& weights, std::int64_t first,
                                 std::int64_t b) {
  I32 high[kHeads][kTileVectors], low[kHeads][kTileVectors];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
    for (int j = 0; j < kTileVectors; ++j) high[h][j] = low[h][j] = I32::all(0);
  }
  const std::int64_t ahead = tiles_ahead(block.v_stride);
  const std::byte* tile = block.v + first * block.v_stride;
  const auto& bytes = weights.bytes[b];
#pragma GCC unroll 8
  for (std::int64_t s = 0; s < kCacheTileRows; s += 4) {
    const auto* at =
        reinterpret_cast<const std::uint8_t*>(tile + tessera::ops::value_code_at(s, b * kCacheBlock));
    Quads codes[kTileVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kTileVectors; ++j) {
      codes[j] = Quads::load(at + 4 * kLanes * j);
      __builtin_prefetch(at + 4 * kLanes * j + ahead);
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const auto& of_tile = bytes[h][first / kCacheTileRows];
      const Quads weight = Quads::all(of_tile[0] + s), rest = Quads::all(of_tile[1] + s);
#pragma GCC unroll 2
      for (int j = 0; j < kTileVectors; ++j) {
        high[h][j] = add_dots(high[h][j], weight, codes[j]);
        low[h][j] = add_dots(low[h][j], rest, codes[j]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
    for (int j = 0; j < kTileVectors; ++j) {
      float* y = block.y + h * block.y_stride + b * kCacheBlock + j * kLanes;
      store_i32(load_i32(y) + (shifted_left<8>(high[h][j]) + low[h][j]), y);
    }
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
    ByteWeights weights;
    const std::int64_t blocks = block.dim / kCacheBlock;
    std::int64_t b = 0;
    for (; b + 2 <= blocks; b += 2) round_weights<kHeads, 2>(block, b, weights);
    for (; b < blocks; ++b) round_weights<kHeads, 1>(block, b, weights);
    for (std::int64_t s = 0; s < block.keys; s += kCacheTileRows) {
      for (b = 0; b < blocks; ++b) add_codes<kHeads>(block, weights, s, b);
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
