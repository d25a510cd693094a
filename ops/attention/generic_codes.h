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
// The loops stay functions of their own: inlined into one, they took a quarter longer (bench/RESULTS.md).
#pragma once

#include "ops/attention/generic_decode_tiles.h"

namespace {

// Vectors of a tile's keys, or of a block's dims, and how many of them have their sums at once.
constexpr int kTileVectors = kCacheTileRows / kLanes, kCodeVectors = F32::kRegisters == 32 ? 2 : 1;

// sum + a . b for unsigned a and signed b, by lane.
inline I32 add_dots(I32 sum, Quads a, Quads b) { return Dots<255>::add(sum, {a}, {b}); }

// parts: high, low. start: what takes the offset of the codes off, a 128th of it. step is NaN where an
// element is not finite.
struct QueryCodes {
  std::int8_t parts[2][tessera::ops::kAttentionMaxDim];
  std::int32_t start[kMostBlocks];
  float step;
};
static_assert(sizeof(QueryCodes) <= sizeof(float) * tessera::ops::kAttentionMaxDim);

inline void round_query(const float* q, std::int64_t dim, QueryCodes& codes) {
  constexpr float kLargest = 127 * 128 + 63;
  // A step of zero would make NaN of -inf, and its inverse be infinite.
  F32 top = F32::all(1e-30f), nothing = F32::zero();
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    const F32 x = F32::load(q + i);
    top = F32::max(F32::abs(x), top);
    nothing = F32::fma(x, F32::zero(), nothing);  // NaN if x is not finite
  }
  const float largest = top.largest();
  const F32 factor = F32::all(kLargest / largest);
  for (std::int64_t i = 0; i < dim; i += kCacheBlock) {
    F32 sum = F32::zero();
    for (std::int64_t j = i; j < i + kCacheBlock; j += kLanes) {
      const F32 x = F32::round(F32::load(q + j) * factor);
      const F32 high = F32::round(x * F32::all(1.0f / 128));
      store_i8(high, codes.parts[0] + j);
      store_i8(F32::fma(high, F32::all(-128.0f), x), codes.parts[1] + j);
      sum = sum + x;
    }
    const float total = sum.sum();  // NaN makes the step NaN, too
    codes.start[i / kCacheBlock] = total == total ? -static_cast<std::int32_t>(total) : 0;
  }
  codes.step = largest / kLargest + nothing.sum();
}

// Sums of products of kCodeVectors vectors of a block's codes with the high and the low bytes of each head.
template <int kHeads>
struct BlockSums {
  I32 high[kHeads][kCodeVectors], low[kHeads][kCodeVectors];

  void begin(int h, std::int32_t start) {
#pragma GCC unroll 2
    for (int j = 0; j < kCodeVectors; ++j) {
      high[h][j] = I32::all(start);
      low[h][j] = I32::all(0);
    }
  }
  // bytes(h, part, i) are those of head h from i on; dot(sum, codes, four of them) is a sum.
  template <typename Bytes, typename Dot>
  void add(const std::byte* codes, std::int64_t ahead, const Bytes& bytes, const Dot& dot) {
#pragma GCC unroll 8
    for (int i = 0; i < kCacheBlock; i += 4) {
      const auto* at = reinterpret_cast<const std::uint8_t*>(codes) + i * kCacheTileRows;
      Quads quads[kCodeVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kCodeVectors; ++j) {
        quads[j] = Quads::load(at + 4 * kLanes * j);
        __builtin_prefetch(at + 4 * kLanes * j + ahead);
      }
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Quads x = Quads::all(bytes(h, 0, i)), rest = Quads::all(bytes(h, 1, i));
#pragma GCC unroll 2
        for (int j = 0; j < kCodeVectors; ++j) {
          high[h][j] = dot(high[h][j], quads[j], x);
          low[h][j] = dot(low[h][j], quads[j], rest);
        }
      }
      // Requests stay apart: a processor that gets many at once drops some.
      asm volatile("" ::: "memory");
    }
  }
  // Where a high byte counts 2^kBits.
  template <int kBits>
  I32 sum(int h, int j) const {
    return high[h][j].template shifted_left<kBits>() + low[h][j];
  }
};

// Scores of a tile's keys from `first` on.
template <int kHeads>
[[gnu::noinline]] void score_codes(const DecodeRun& run, const DecodeSpace& w, std::int64_t first) {
  const TileQ8_0 keys{run.k + first * run.k_stride, run.dim};
  const auto* queries = reinterpret_cast<const QueryCodes*>(w.parts);
  const std::int64_t ahead = tiles_ahead(run.k_stride);
  for (int v = 0; v < kTileVectors; v += kCodeVectors) {
    const std::int64_t r = v * kLanes;
    F32 scores[kHeads][kCodeVectors];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
      for (int j = 0; j < kCodeVectors; ++j) scores[h][j] = F32::zero();
    }
    for (std::int64_t b = 0; b < run.dim / kCacheBlock; ++b) {
      if (v == 0) ask_for_scales(run, first, b * kCacheBlock);
      BlockSums<kHeads> sums;
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) sums.begin(h, queries[h].start[b]);
      sums.add(
          keys.tile + tessera::ops::key_code_at(r, b * kCacheBlock), ahead,
          [&](int h, int part, int i) { return queries[h].parts[part] + b * kCacheBlock + i; },
          [](I32 sum, Quads codes, Quads q) { return add_dots(sum, codes, q); });
#pragma GCC unroll 2
      for (int j = 0; j < kCodeVectors; ++j) {
        const F32 scale = F32::load_f16(keys.scales(r + j * kLanes, b * kCacheBlock));
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          scores[h][j] = F32::fma(sums.template sum<7>(h, j).to_f32(), scale, scores[h][j]);
        }
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
      for (int j = 0; j < kCodeVectors; ++j) {
        const F32 score = scores[h][j] * F32::all(queries[h].step);
        score.store(w.scores + h * kDecodeRunKeys + first + r + j * kLanes);
      }
    }
  }
}

// What rounds the products of weights with scales, for each 32 dims of the values. step is NaN where a scale
// is not finite.
struct ProductSteps {
  float factor[kMostBlocks][4], step[kMostBlocks][4];  // 1 / step, step
};

// Of kBlocks blocks from b on.
template <int kHeads, int kBlocks>
[[gnu::noinline]] void find_steps(const DecodeBlock& block, std::int64_t b, ProductSteps& out) {
  static_assert(kBlocks * kHeads <= kLanes);
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
        nothing[j] = F32::fma(scale, F32::zero(), nothing[j]);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          const F32 weight = F32::load(block.scores + h * kDecodeRunKeys + s);
          top[j * kHeads + h] = F32::max(weight * scale, top[j * kHeads + h]);
        }
      }
    }
  }
  F32::transpose(top);
  // The inverse of a smaller one would not be finite.
  F32 largest = F32::all(1e-33f);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) largest = F32::max(top[i], largest);
  constexpr int kLargest = 65535;
  static_assert(std::int64_t{kLargest} * 128 * kDecodeKeys < std::int64_t{1} << 31);
  float factors[kLanes], steps[kLanes];
  (F32::all(kLargest) / largest).store(factors);
  (largest * F32::all(1.0f / kLargest)).store(steps);
#pragma GCC unroll 2
  for (int j = 0; j < kBlocks; ++j) {
    const float bad = nothing[j].sum();
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      out.factor[b + j][h] = factors[j * kHeads + h];
      out.step[b + j][h] = steps[j * kHeads + h] + bad;
    }
  }
}

// Products of a tile as bytes, zero beyond its keys: of two vectors of keys the high ones, then the low ones,
// four of which are a quad.
struct ByteWeights {
  static constexpr int kKeys = 2 * kLanes;
  alignas(64) std::uint8_t bytes[kMostBlocks][4][kCacheTileRows / kKeys][2][kKeys];
};

// Of the tile from key `first` on. Beyond its keys may stand any weight: times a scale of zero it is zero or
// no number, and both become zero.
template <int kHeads>
[[gnu::noinline]] void round_weights(const DecodeBlock& block, const ProductSteps& steps, std::int64_t first,
                                     ByteWeights& out) {
  const TileQ8_0 tile{block.v + first * block.v_stride, block.dim};
  for (std::int64_t r = 0; r < kCacheTileRows; r += ByteWeights::kKeys) {
    const std::int64_t keys = block.keys - first - r;
    F32 left[kHeads], right[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const float* weights = block.scores + h * kDecodeRunKeys + first + r;
      left[h] = F32::load(weights);
      right[h] = F32::load(weights + kLanes);
    }
    for (std::int64_t b = 0; b < block.dim / kCacheBlock; ++b) {
      const std::uint16_t* scales = tile.scales(r, b * kCacheBlock);
      const F32 left_scale = load_scales(scales, keys);
      const F32 right_scale = load_scales(scales + kLanes, keys - kLanes);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const F32 factor = F32::all(steps.factor[b][h]);
        store_bytes(left[h] * left_scale * factor, right[h] * right_scale * factor,
                    out.bytes[b][h][r / ByteWeights::kKeys][0]);
      }
    }
  }
}

// Adds weights times codes of the tile from key `first` on to y, integers there.
template <int kHeads>
[[gnu::noinline]] void add_codes(const DecodeBlock& block, const ByteWeights& weights, std::int64_t first) {
  const std::byte* tile = block.v + first * block.v_stride;
  const std::int64_t ahead = tiles_ahead(block.v_stride);
  for (std::int64_t i = 0; i < block.dim; i += kCodeVectors * kLanes) {
    const auto& bytes = weights.bytes[i / kCacheBlock];
    BlockSums<kHeads> sums;
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) sums.begin(h, 0);
    sums.add(
        tile + tessera::ops::value_code_at(0, i), ahead,
        [&](int h, int part, int s) {
          return bytes[h][s / ByteWeights::kKeys][part] + s % ByteWeights::kKeys;
        },
        [](I32 sum, Quads codes, Quads weight) { return add_dots(sum, weight, codes); });
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
      for (int j = 0; j < kCodeVectors; ++j) {
        float* y = block.y + h * block.y_stride + i + j * kLanes;
        (I32::load(y) + sums.template sum<8>(h, j)).store(y);
      }
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
    ProductSteps steps;
    ByteWeights weights;
    const std::int64_t blocks = block.dim / kCacheBlock;
    std::int64_t b = 0;
    for (; b + 2 <= blocks; b += 2) find_steps<kHeads, 2>(block, b, steps);
    for (; b < blocks; ++b) find_steps<kHeads, 1>(block, b, steps);
    for (std::int64_t s = 0; s < block.keys; s += kCacheTileRows) {
      round_weights<kHeads>(block, steps, s, weights);
      add_codes<kHeads>(block, weights, s);
    }
    for (int h = 0; h < kHeads; ++h) {
      float* y = block.y + h * block.y_stride;
      for (std::int64_t i = 0; i < block.dim; i += kLanes) {
        (I32::load(y + i).to_f32() * F32::all(steps.step[i / kCacheBlock][h])).store(y + i);
      }
    }
  }
};

}  // namespace
