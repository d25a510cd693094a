// Products of several rows with matrix tiles of bf16.
//
// Both operands are brought into tiles: inputs as 16 rows of 32 k, weights as 32 k of 16 columns in pairs of
// k. A block is kTileDepth of k of all rows of the call, a strip kTileColumns columns. The order is
//
//   for each block of k         inputs of the block: 256 KiB for 512 rows, in the second-level cache
//     for each strip            its weights, as deep: 32 KiB, in the first-level cache
//       for each 16 rows        four tiles of sums in registers, the inputs' tiles stream by: one load of
//                               inputs and four of weights for four products, 10 of 16 cycles of the load
//                               ports and 16 bytes a cycle from the second-level cache
//
// Sums rest in memory between blocks, as f32: the same as if they had stayed. What the next strip and the
// next block need is converted between the products of this one, a tile at a time: the units of vectors have
// nothing else to do.
#pragma once

#include "ops/matmul/generic_block_codes.h"
#include "ops/matmul/generic_pairs.h"

namespace {

using tessera::ops::MatmulTile;

constexpr int kTileDepth = static_cast<int>(tessera::ops::kAmxDepth), kStepDepth = 32;  // of k
constexpr int kStripPanels = static_cast<int>(tessera::ops::kAmxStripColumns) / tessera::ops::kPanelColumns;
constexpr int kMaxSteps = kTileDepth / kStepDepth;

inline void prefetch_lines(const std::uint8_t* p, int lines) {
  for (int i = 0; i < lines; ++i) __builtin_prefetch(p + 64 * i, 0, 3);
}

// ---- inputs: write(row tile, k, to) writes rows 16 * row tile and up, zeros for those past the last ----

struct FloatInputs {
  const MatmulTile& t;

  void write(std::int64_t row_tile, std::int64_t k, std::uint8_t* to) const {
    for (int r = 0; r < kTileRows; ++r, to += kTileRowBytes) {
      const std::int64_t row = row_tile * kTileRows + r;
      const float* x = static_cast<const float*>(t.x) + row * t.x_stride + k;
      round_inputs(x, row < t.rows ? t.k - k : 0).store(to);
    }
  }
};

struct GroupInputs {
  const MatmulTile& t;

  void write(std::int64_t row_tile, std::int64_t k, std::uint8_t* to) const {
    for (int r = 0; r < kTileRows; ++r, to += kTileRowBytes) {
      const std::int64_t row = row_tile * kTileRows + r;
      F32 low = F32::zero(), high = F32::zero();
      if (row < t.rows) {
        const ActivationGroup& group =
            static_cast<const ActivationGroup*>(t.x)[row * t.x_stride + k / tessera::ops::kGroupElements];
        const F32 d = F32::all(group.d);
        low = F32::load_i8(group.q) * d;
        high = F32::load_i8(group.q + F32::kLanes) * d;
      }
      Pairs::rounded(low, high).store(to);
    }
  }
};

// ---- weights: write(panel, k, to); within a panel k comes in steps, from the start of a block ----

// Where the weights of one strip later, or of the next block's first strips, stand.
inline const std::uint8_t* strip_after(const MatmulTile& t, std::int64_t panel, std::int64_t at,
                                       std::int64_t block_bytes) {
  const std::int64_t panels = (t.columns + tessera::ops::kPanelColumns - 1) / tessera::ops::kPanelColumns;
  const bool same_block = panel + kStripPanels < panels;
  return static_cast<const std::uint8_t*>(t.w) +
         (same_block ? panel + kStripPanels : panel % kStripPanels) * t.w_stride + at +
         (same_block ? 0 : block_bytes);
}

// kBf16Panels are tiles already, but for what is missing at the end of k.
struct Bf16Weights {
  const MatmulTile& t;

  void write(std::int64_t panel, std::int64_t k, std::uint8_t* to) const {
    const std::int64_t at = k / 2 * kTileRowBytes;
    prefetch_lines(strip_after(t, panel, at, kTileDepth / 2 * kTileRowBytes), kTileRows);
    const std::uint8_t* from = static_cast<const std::uint8_t*>(t.w) + panel * t.w_stride + at;
    const std::int64_t pairs = (t.k + 1 - k) / 2;
    for (int r = 0; r < kTileRows; ++r, to += kTileRowBytes) {
      const F32 row =
          r < pairs ? F32::load(reinterpret_cast<const float*>(from + r * kTileRowBytes)) : F32::zero();
      row.store(reinterpret_cast<float*>(to));
    }
  }
};

// kF16Panels, rounded to bf16.
struct F16Weights {
  const MatmulTile& t;

  void write(std::int64_t panel, std::int64_t k, std::uint8_t* to) const {
    constexpr std::int64_t kRow = tessera::ops::kPanelColumns * 2;
    prefetch_lines(strip_after(t, panel, k * kRow, kTileDepth * kRow), kStepDepth * kRow / 64);
    const std::uint8_t* from = static_cast<const std::uint8_t*>(t.w) + panel * t.w_stride + k * kRow;
    for (int r = 0; r < kTileRows; ++r, to += kTileRowBytes, from += 2 * kRow) {
      round_f16_weights(reinterpret_cast<const std::uint16_t*>(from), t.k - k - 2 * r).store(to);
    }
  }
};

// kBlockPanels, as the format's decoder gives them and then rounded to bf16.
template <BlockFormat kFormat>
struct BlockWeights {
  const MatmulTile& t;
  BlockScales<kFormat> scales;  // of the block of the format that was written last

  static_assert(kTileDepth % kFormat.elems == 0);

  void write(std::int64_t panel, std::int64_t k, std::uint8_t* to) {
    constexpr std::int64_t kBlockBytes = kTileDepth / kFormat.elems * kFormat.panel_bytes();
    const int group = static_cast<int>(k % kFormat.elems / kStepDepth);
    const std::int64_t at = k / kFormat.elems * kFormat.panel_bytes();
    const std::int64_t codes_at = at + kFormat.panel_codes() + group * kFormat.group_bytes();
    const std::uint8_t* w = static_cast<const std::uint8_t*>(t.w) + panel * t.w_stride;
    prefetch_lines(strip_after(t, panel, codes_at, kBlockBytes), kFormat.group_bytes() / 64);
    if (group == 0) {
      prefetch_lines(strip_after(t, panel, at, kBlockBytes), (kFormat.panel_codes() + 63) / 64);
      scales.load(w + at, 0);
    }
    write_quads<0>(w + codes_at, group, to);
  }

 private:
  // Four k are two rows of the tile.
  template <int kQuad>
  void write_quads(const std::uint8_t* codes, int group, std::uint8_t* to) {
    constexpr int kParts = BlockScales<kFormat>::kParts;
    const F32 scale = scales.scale[group * kParts + kQuad * kParts / 8];
    F32 zero = F32::zero();
    if constexpr (kFormat.has_min) {
      zero = scales.min[group];
    } else if constexpr (kFormat.offset != 0) {
      zero = F32::all(-kFormat.offset) * scale;  // exact: a power of two
    }
    const Quads quads = code<kFormat, kQuad>(codes);
    const auto value = [&](I32 code_of) { return F32::fma(code_of.to_f32(), scale, zero); };
    Pairs::interleaved(value(I32::byte<0>(quads)), value(I32::byte<1>(quads))).store(to);
    Pairs::interleaved(value(I32::byte<2>(quads)), value(I32::byte<3>(quads))).store(to + kTileRowBytes);
    if constexpr (kQuad < 7) write_quads<kQuad + 1>(codes, group, to + 2 * kTileRowBytes);
  }
};

// ---- what is converted ahead ----

// Tiles of `steps` k steps each, one row of them after the other, into consecutive memory.
struct TileQueue {
  std::int64_t row = 0, k = 0;  // of the next one: row tile or panel
  int step = 0, steps = 0;
  std::uint8_t* to = nullptr;
  std::int64_t total = 0;  // in this stage
  std::int64_t due = 0;    // times Ahead::calls

  template <typename Source>
  void write(Source& source) {
    source.write(row, k + step * kStepDepth, to);
    to += kTileBytes;
    if (++step == steps) {
      step = 0;
      ++row;
    }
  }
};

// advance(), called `calls` times in a stage, writes the `total` tiles of both queues, evenly.
template <typename Inputs, typename Weights>
struct Ahead {
  Inputs& inputs;
  Weights& weights;
  TileQueue a, b;
  std::int64_t calls = 0;

  void advance() {
    a.due += a.total;
    b.due += b.total;
    if (a.due >= calls) write_inputs();
    if (b.due >= calls) write_weights();
  }

 private:
  [[gnu::noinline]] void write_inputs() {
    for (; a.due >= calls; a.due -= calls) a.write(inputs);
  }
  [[gnu::noinline]] void write_weights() {
    for (; b.due >= calls; b.due -= calls) b.write(weights);
  }
};

// ---- products ----

struct Stage {
  const std::uint8_t *a, *b;  // [row tiles][steps], [panels][steps], tiles
  float* sums;                // [row tiles][panels], tiles
  int steps;
  bool first, last;  // block of k
};

// Sums of 16 rows and kPanels panels, from memory or from zero, and back.
template <int kPanels, typename Ahead>
[[gnu::always_inline]] inline void multiply_row_tile(const Stage& s, const std::uint8_t* a, float* sums,
                                                     Ahead& ahead) {
  constexpr int kSums = kTileBytes / 4;
  if (s.first) {
    zero_sums();
  } else {
    _tile_loadd(0, sums, kTileRowBytes);
    if constexpr (kPanels > 1) _tile_loadd(1, sums + kSums, kTileRowBytes);
    if constexpr (kPanels > 2) _tile_loadd(2, sums + 2 * kSums, kTileRowBytes);
    if constexpr (kPanels > 3) _tile_loadd(3, sums + 3 * kSums, kTileRowBytes);
  }
  const std::int64_t panel = static_cast<std::int64_t>(s.steps) * kTileBytes;
  const std::uint8_t *b = s.b, *next_a = a + panel;
  const auto* next_sums = reinterpret_cast<const std::uint8_t*>(sums + kPanels * kSums);
  for (int step = 0; step < s.steps; ++step, a += kTileBytes, b += kTileBytes) {
    _tile_loadd(4, a, kTileRowBytes);
    _tile_loadd(6, b, kTileRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kPanels > 1) {
      _tile_loadd(7, b + panel, kTileRowBytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    prefetch_lines(next_a, kTileRows);  // of the next rows
    next_a += kTileBytes;
    if constexpr (kPanels > 2) {
      _tile_loadd(6, b + 2 * panel, kTileRowBytes);
      _tile_dpbf16ps(2, 4, 6);
    }
    if constexpr (kPanels > 3) {
      _tile_loadd(7, b + 3 * panel, kTileRowBytes);
      _tile_dpbf16ps(3, 4, 7);
    }
    prefetch_lines(next_sums, kPanels * kTileRows / kMaxSteps);
    next_sums += kPanels * kTileBytes / kMaxSteps;
    ahead.advance();
  }
  _tile_stored(0, sums, kTileRowBytes);
  if constexpr (kPanels > 1) _tile_stored(1, sums + kSums, kTileRowBytes);
  if constexpr (kPanels > 2) _tile_stored(2, sums + 2 * kSums, kTileRowBytes);
  if constexpr (kPanels > 3) _tile_stored(3, sums + 3 * kSums, kTileRowBytes);
}

// Sums of 16 rows and kPanels panels, with the bias, to y.
template <int kPanels>
void store_row_tile(const MatmulTile& t, const float* sums, std::int64_t row_tile, std::int64_t column) {
  using tessera::ops::kPanelColumns;
  const std::int64_t first = row_tile * kTileRows, left = t.rows - first;
  const std::int64_t rows = left < kTileRows ? left : kTileRows;
  for (int p = 0; p < kPanels; ++p, column += kPanelColumns, sums += kTileBytes / 4) {
    for (std::int64_t r = 0; r < rows; ++r) {
      store_sums(t, first + r, column, sums + r * kPanelColumns, kPanelColumns);
    }
  }
}

template <int kPanels, typename Ahead>
[[gnu::noinline]] void multiply_strip(const MatmulTile& t, const Stage& s, std::int64_t column,
                                      Ahead& ahead) {
  finish_writes();
  const std::int64_t row_tiles = (t.rows + kTileRows - 1) / kTileRows;
  for (std::int64_t m = 0; m < row_tiles; ++m) {
    float* sums = s.sums + m * kPanels * (kTileBytes / 4);
    multiply_row_tile<kPanels>(s, s.a + m * s.steps * kTileBytes, sums, ahead);
    if (s.last) store_row_tile<kPanels>(t, sums, m, column);
  }
}

template <typename Ahead>
void multiply_strip(const MatmulTile& t, const Stage& s, std::int64_t column, int panels, Ahead& ahead) {
  switch (panels) {
    case 1:
      return multiply_strip<1>(t, s, column, ahead);
    case 2:
      return multiply_strip<2>(t, s, column, ahead);
    case 3:
      return multiply_strip<3>(t, s, column, ahead);
    default:
      return multiply_strip<4>(t, s, column, ahead);
  }
}

template <typename Inputs, typename Weights>
void multiply_tiles(const MatmulTile& t, Inputs inputs, Weights weights) {
  using tessera::ops::kPanelColumns;
  const std::int64_t row_tiles = (t.rows + kTileRows - 1) / kTileRows;
  const std::int64_t panels = (t.columns + kPanelColumns - 1) / kPanelColumns;
  const std::int64_t strips = (panels + kStripPanels - 1) / kStripPanels;
  const std::int64_t blocks = t.k > kTileDepth ? (t.k + kTileDepth - 1) / kTileDepth : 1;
  const auto steps_of = [&](std::int64_t block) {
    const std::int64_t left = t.k - block * kTileDepth;
    return static_cast<int>(((left < kTileDepth ? left : kTileDepth) + kStepDepth - 1) / kStepDepth);
  };
  const auto panels_of = [&](std::int64_t strip) {
    const std::int64_t left = panels - strip * kStripPanels;
    return static_cast<int>(left < kStripPanels ? left : kStripPanels);
  };

  // Inputs and weights twice: those in use and the next ones.
  std::uint8_t *a[2], *b[2];
  a[0] = static_cast<std::uint8_t*>(t.workspace);
  a[1] = a[0] + row_tiles * kMaxSteps * kTileBytes;
  b[0] = a[1] + row_tiles * kMaxSteps * kTileBytes;
  b[1] = b[0] + kStripPanels * kMaxSteps * kTileBytes;
  auto* sums = reinterpret_cast<float*>(b[1] + kStripPanels * kMaxSteps * kTileBytes);

  Ahead<Inputs, Weights> ahead{inputs, weights, {}, {}};
  const auto queue_inputs = [&](std::int64_t block) {
    ahead.a = {.row = 0, .k = block * kTileDepth, .step = 0, .steps = steps_of(block), .to = a[block % 2]};
  };
  const auto queue_weights = [&](std::int64_t block, std::int64_t strip) {
    ahead.b = {.row = strip * kStripPanels,
               .k = block * kTileDepth,
               .step = 0,
               .steps = steps_of(block),
               .to = b[(block * strips + strip) % 2],
               .total = panels_of(strip) * steps_of(block)};
  };

  queue_inputs(0);
  for (std::int64_t i = row_tiles * steps_of(0); i > 0; --i) ahead.a.write(inputs);
  queue_weights(0, 0);
  for (std::int64_t i = ahead.b.total; i > 0; --i) ahead.b.write(weights);
  configure_tiles();
  for (std::int64_t block = 0; block < blocks; ++block) {
    const bool last = block + 1 == blocks;
    const std::int64_t next_inputs = last ? 0 : row_tiles * steps_of(block + 1);
    queue_inputs(last ? 0 : block + 1);
    ahead.calls = row_tiles * steps_of(block);
    for (std::int64_t strip = 0; strip < strips; ++strip) {
      ahead.a.total = next_inputs * (strip + 1) / strips - next_inputs * strip / strips;
      if (strip + 1 < strips) {
        queue_weights(block, strip + 1);
      } else if (!last) {
        queue_weights(block + 1, 0);
      } else {
        ahead.b.total = 0;
      }
      const Stage stage{a[block % 2],
                        b[(block * strips + strip) % 2],
                        sums + strip * row_tiles * kStripPanels * (kTileBytes / 4),
                        steps_of(block),
                        block == 0,
                        last};
      multiply_strip(t, stage, strip * kStripPanels * kPanelColumns, panels_of(strip), ahead);
    }
  }
  _tile_release();
}

template <BlockFormat kFormat>
void multiply_block_tiles(const MatmulTile& t) {
  multiply_tiles(t, GroupInputs{t}, BlockWeights<kFormat>{t, {}});
}

}  // namespace
