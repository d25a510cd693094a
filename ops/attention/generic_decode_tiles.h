// One position over q8_0 keys and values on vectors of f32. Lanes of scores run along the keys of a tile,
// those of values along dim. Values are multiplied as codes, by weights times their scales.
#pragma once

#include "ops/attention/generic_decode.h"

namespace {

constexpr std::int64_t kMostBlocks = tessera::ops::kAttentionMaxDim / kCacheBlock;

// What is two tiles ahead is asked for line by line, as the same lines of a tile are used: processors do not
// read ahead behind this much arithmetic, and all of a tile at once would occupy the miss buffers.
inline std::int64_t tiles_ahead(std::int64_t stride) { return 2 * kCacheTileRows * stride; }

// Scales of the keys two tiles after the one from key `first` on, and of its values, which are wanted for a
// whole block at once.
inline void ask_for_scales(const DecodeRun& run, std::int64_t first, std::int64_t dim) {
  const std::int64_t at = tessera::ops::cache_scale_at(run.dim, 0, dim);
  __builtin_prefetch(run.k + first * run.k_stride + tiles_ahead(run.k_stride) + at);
  __builtin_prefetch(run.v + first * run.v_stride + at);
}

// kLanes scales of which n are of keys; the others are zero.
inline F32 load_scales(const std::uint16_t* scales, std::int64_t n) {
  return n >= kLanes ? F32::load_f16(scales) : n > 0 ? F32::load_f16_n(scales, n) : F32::zero();
}

// What ways of decoding tiles share.
struct TileProducts {
  static std::int64_t ahead(const DecodeRun& run) { return tiles_ahead(run.v_stride); }
  static F32 keep_weights(F32 low, F32 high, float* weights, std::int64_t i, F32 sum) {
    return keep_floats(low, high, weights, i, sum);
  }
};

// Vectors of keys, and of dims, that are taken at a time.
constexpr int kVectors = 2, kVectorLanes = kVectors * kLanes;

// Asks for the quads of so many lanes.
inline void ask_for_quads(const std::byte* at) {
  for (int line = 0; line < 4 * kVectorLanes; line += 64) __builtin_prefetch(at + line);
}

struct TileFloats : TileProducts {
  template <int kHeads>
  static constexpr int kTileKeys = kVectorLanes;

  template <int kHeads>
  static void begin(const DecodeRun&, const DecodeSpace&) {}

  // Scores of kTileKeys keys from `first` on, which a tile has even where the run ends before.
  template <int kHeads>
  static void score(const DecodeRun& run, const DecodeSpace& w, std::int64_t first) {
    const TileQ8_0 tile = TileQ8_0::of_row(run.k, first, run.k_stride, run.dim);
    const std::int64_t row = first % kCacheTileRows;
    const std::byte* ahead = tile.tile + tiles_ahead(run.k_stride);
    F32 scores[kHeads][kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kHeads * kVectors; ++i) scores[i / kVectors][i % kVectors] = F32::zero();
    for (std::int64_t i = 0; i < run.dim; i += 4) {
      if (i % kCacheBlock == 0 && row == 0) ask_for_scales(run, first, i);
      ask_for_quads(ahead + tessera::ops::key_code_at(row, i));
      F32 dims[kVectors][4];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) tile.load_keys(row + j * kLanes, i, dims[j]);
#pragma GCC unroll 4
      for (int d = 0; d < 4; ++d) {
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          const F32 q = F32::all(w.q[h * w.width + i + d]);
#pragma GCC unroll 2
          for (int j = 0; j < kVectors; ++j) scores[h][j] = F32::fma(q, dims[j][d], scores[h][j]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kHeads * kVectors; ++i) {
      scores[i / kVectors][i % kVectors].store(w.scores + i / kVectors * kDecodeRunKeys + first +
                                               i % kVectors * kLanes);
    }
  }

  template <int kHeads>
  static void add(const DecodeBlock& block) {
    float weights[kMostBlocks][kHeads][kDecodeKeys];
    for (std::int64_t s = 0; s < block.keys; s += kLanes) {
      const TileQ8_0 tile = TileQ8_0::of_row(block.v, s, block.v_stride, block.dim);
      for (std::int64_t b = 0; b < block.dim / kCacheBlock; ++b) {
        const F32 scales = load_scales(tile.scales(s % kCacheTileRows, b * kCacheBlock), block.keys - s);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          (F32::load(block.scores + h * kDecodeRunKeys + s) * scales).store(weights[b][h] + s);
        }
      }
    }
    for (std::int64_t s = 0; s < block.keys; s += kCacheTileRows) {
      for (std::int64_t i = 0; i < block.dim; i += kVectorLanes) {
        add_tile<kHeads>(block, weights[i / kCacheBlock], s, i);
      }
    }
  }

 private:
  // Adds weights times codes of value s + kIndex, whose codes are bytes kIndex of quads.
  template <int kHeads, int kIndex>
  static void add_value(const Quads (&quads)[kVectors], const float (&weights)[kHeads][kDecodeKeys],
                        std::int64_t s, F32 (&sum)[kHeads][kVectors]) {
    F32 codes[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) codes[j] = I32::signed_byte<kIndex>(quads[j]).to_f32();
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const F32 weight = F32::all(weights[h][s + kIndex]);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[h][j] = F32::fma(weight, codes[j], sum[h][j]);
    }
  }
  // Adds weights times codes of the tile from key `first` on to y, for kVectors vectors of dims from i on.
  template <int kHeads>
  static void add_tile(const DecodeBlock& block, const float (&weights)[kHeads][kDecodeKeys],
                       std::int64_t first, std::int64_t i) {
    const std::byte* tile = block.v + first * block.v_stride;
    F32 sum[kHeads][kVectors];
#pragma GCC unroll 8
    for (int n = 0; n < kHeads * kVectors; ++n) {
      sum[n / kVectors][n % kVectors] =
          F32::load(block.y + n / kVectors * block.y_stride + i + n % kVectors * kLanes);
    }
    const std::int64_t ahead = tiles_ahead(block.v_stride);
    const std::int64_t last = smaller(first + kCacheTileRows, block.keys);
    for (std::int64_t s = first; s < last; s += 4) {
      const std::byte* at = tile + tessera::ops::value_code_at(s - first, i);
      ask_for_quads(at + ahead);
      Quads codes[kVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        codes[j] = Quads::load(reinterpret_cast<const std::uint8_t*>(at) + 4 * kLanes * j);
      }
      add_value<kHeads, 0>(codes, weights, s, sum);
      add_value<kHeads, 1>(codes, weights, s, sum);
      add_value<kHeads, 2>(codes, weights, s, sum);
      add_value<kHeads, 3>(codes, weights, s, sum);
    }
#pragma GCC unroll 8
    for (int n = 0; n < kHeads * kVectors; ++n) {
      sum[n / kVectors][n % kVectors].store(block.y + n / kVectors * block.y_stride + i +
                                            n % kVectors * kLanes);
    }
  }
};

}  // namespace
