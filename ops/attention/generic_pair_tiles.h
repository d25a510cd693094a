// Attention on matrix tiles of bf16: as generic_pairs.h, with its scores, and its products of weights and
// values for whole blocks of keys, made by tiles. Keys and values lie as tiles want them already: pairs of 16
// columns a row.
//
// Rows that see a part of a block only are left to vectors: a tile would add the product of zero with a key
// that they do not see, and that may be NaN.
#pragma once

#include "ops/attention/generic_pairs.h"

namespace {

constexpr std::int64_t kPairsOfTile = kTileRowBytes / 4;  // a row of a, and rows of b

// a [kRowTiles * 16][depth], b [depth][kColumnTiles * 16] of pairs, c of f32; strides in dwords, depth a
// multiple of kPairsOfTile.
struct TileProduct {
  const float *a, *b;
  float* c;
  std::int64_t a_stride, b_stride, c_stride, depth;
};

// c = a b
template <int kRowTiles, int kColumnTiles>
inline void multiply_tiles(const TileProduct& p) {
  const std::int64_t a_bytes = 4 * p.a_stride, b_bytes = 4 * p.b_stride, c_bytes = 4 * p.c_stride;
  zero_sums();
  for (std::int64_t k = 0; k < p.depth; k += kPairsOfTile) {
    const float *a = p.a + k, *b = p.b + k * p.b_stride;
    _tile_loadd(4, a, a_bytes);
    _tile_loadd(6, b, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kColumnTiles > 1) {
      _tile_loadd(7, b + kLanes, b_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kRowTiles > 1) {
      _tile_loadd(5, a + kTileRows * p.a_stride, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kColumnTiles > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  float* below = p.c + kTileRows * p.c_stride;
  _tile_stored(0, p.c, c_bytes);
  if constexpr (kColumnTiles > 1) _tile_stored(1, p.c + kLanes, c_bytes);
  if constexpr (kRowTiles > 1) _tile_stored(2, below, c_bytes);
  if constexpr (kRowTiles > 1 && kColumnTiles > 1) _tile_stored(3, below + kLanes, c_bytes);
}

// What tiles read and make of rows beyond a strip's is never used.
struct PairTiles {
  static constexpr std::int64_t kStripRows = 2 * kTileRows;
  // Tiles of weights may reach into what follows them, the sums.
  static_assert((kStripRows - 1) * (kBlockKeys / 2) <=
                tessera::ops::attention_rows(tessera::ops::kAttentionMaxDim) * kLanes);
  static_assert(kPanelKeys % (2 * kLanes) == 0 && kBlockKeys / 2 % kPairsOfTile == 0);

  static void begin() { configure_tiles(); }
  static void end() { _tile_release(); }

  static void score(const PairSpace& w, std::int64_t strip, std::int64_t rows, std::int64_t n) {
    finish_writes();
    for (std::int64_t s = 0; s < n; s += 2 * kLanes) {
      const TileProduct p{.a = w.q + strip * w.pairs,
                          .b = w.k + s / kPanelKeys * kPanelKeys * w.pairs + s % kPanelKeys,
                          .c = w.scores + s,
                          .a_stride = w.pairs,
                          .b_stride = kPanelKeys,
                          .c_stride = kBlockKeys,
                          .depth = w.pairs};
      rows > kTileRows ? multiply_tiles<2, 2>(p) : multiply_tiles<1, 2>(p);
    }
  }

  static void add_block(const PairSpace& w, std::int64_t strip, std::int64_t r, std::int64_t rows) {
    finish_writes();
    std::int64_t column = 0;
    for (; column + 2 * kLanes <= w.width; column += 2 * kLanes) add_columns<2>(w, strip, r, rows, column);
    if (column < w.width) add_columns<1>(w, strip, r, rows, column);
  }

 private:
  template <int kColumnTiles>
  static void add_columns(const PairSpace& w, std::int64_t strip, std::int64_t r, std::int64_t rows,
                          std::int64_t column) {
    constexpr std::int64_t kColumns = kColumnTiles * kLanes;
    alignas(64) float products[kStripRows * kColumns];
    const TileProduct p{.a = w.weights + (r - strip) * (kBlockKeys / 2),
                        .b = w.v + column,
                        .c = products,
                        .a_stride = kBlockKeys / 2,
                        .b_stride = w.width,
                        .c_stride = kColumns,
                        .depth = kBlockKeys / 2};
    rows > kTileRows ? multiply_tiles<2, kColumnTiles>(p) : multiply_tiles<1, kColumnTiles>(p);
    for (std::int64_t i = 0; i < rows; ++i) {
      const F32 factor = F32::all(w.factor[r + i]);
      float* y = w.y + (r + i) * w.width + column;
      for (std::int64_t j = 0; j < kColumns; j += kLanes) {
        F32::fma(F32::load(y + j), factor, F32::load(products + i * kColumns + j)).store(y + j);
      }
    }
  }
};

}  // namespace
