// Products over panels of block formats with integer dot products, on vectors of either width. Few rows read
// the panels as they lie; for more, generic_slabs.h unpacks them first.
#pragma once

#include "ops/matmul/generic_block_codes.h"
#include "ops/matmul/generic_slabs.h"

namespace {

// More rows than these are worth unpacking for. A block of them takes one panel at a time: a single stream of
// memory, which one row must follow as fast as it comes.
constexpr int kFewRows = F32::kRegisters == 32 ? 6 : 2;

struct PanelRows {
  const ActivationGroup* x;
  std::int64_t x_stride;  // groups from one row to the next
  std::int64_t rows;      // that are there; others repeat the last one
  const std::uint8_t* w;  // the panel
  std::int64_t blocks;    // of k
  float* sums;            // [rows][kPanelColumns]
  std::int64_t ahead;     // MatmulTile::bytes_ahead
};

// Adds the products with code vectors kIndex .. kEnd - 1.
template <BlockFormat kFormat, int kIndex, int kEnd, int kRows, int kStrips>
[[gnu::always_inline]] inline void add_dots(const std::uint8_t* const (&w)[kStrips],
                                            const ActivationGroup* const (&x)[kRows],
                                            I32 (&sum)[kRows][kStrips]) {
  using Dot = DotsOf<kFormat>;
  typename Dot::Weight weight[kStrips][Dot::kStep];
  for (int s = 0; s < kStrips; ++s) {
    weight[s][0] = Dot::weight(code<kFormat, kIndex>(w[s]));
    if constexpr (Dot::kStep > 1) weight[s][1] = Dot::weight(code<kFormat, kIndex + 1>(w[s]));
    if constexpr (Dot::kStep > 2) weight[s][2] = Dot::weight(code<kFormat, kIndex + 2>(w[s]));
    if constexpr (Dot::kStep > 2) weight[s][3] = Dot::weight(code<kFormat, kIndex + 3>(w[s]));
  }
  for (int r = 0; r < kRows; ++r) {
    Quads input[Dot::kStep];
    for (int j = 0; j < Dot::kStep; ++j) input[j] = Quads::all(x[r]->q + 4 * (kIndex + j));
    for (int s = 0; s < kStrips; ++s) sum[r][s] = Dot::add(sum[r][s], weight[s], input);
  }
  if constexpr (kIndex + Dot::kStep < kEnd) {
    add_dots<kFormat, kIndex + Dot::kStep, kEnd>(w, x, sum);
  }
}

// One part of a group of all rows and strips: integer sums, scaled and added to the sums, then the mins.
template <BlockFormat kFormat, int kPart, int kRows, int kStrips>
[[gnu::always_inline]] inline void add_part(const std::uint8_t* const (&w)[kStrips],
                                            const ActivationGroup* const (&x)[kRows],
                                            const BlockScales<kFormat> (&scales)[kStrips], int group,
                                            F32 (&y)[kRows][kStrips]) {
  constexpr int kParts = BlockScales<kFormat>::kParts, kVectors = 8 / kParts;
  constexpr int kOffset = kFormat.offset - DotsOf<kFormat>::kTaken;
  const auto codes = [&](int r) { return kParts == 2 ? x[r]->sums[kPart] : x[r]->sums[0] + x[r]->sums[1]; };
  I32 sum[kRows][kStrips];
  for (int r = 0; r < kRows; ++r) {
    const I32 start = I32::all(kOffset == 0 ? 0 : -kOffset * codes(r));
    for (int s = 0; s < kStrips; ++s) sum[r][s] = start;
  }
  add_dots<kFormat, kPart * kVectors, (kPart + 1) * kVectors>(w, x, sum);
  for (int r = 0; r < kRows; ++r) {
    const F32 d = F32::all(x[r]->d), x_sum = F32::all(x[r]->sum);
    for (int s = 0; s < kStrips; ++s) {
      y[r][s] = F32::fma(sum[r][s].to_f32() * d, scales[s].scale[group * kParts + kPart], y[r][s]);
      if constexpr (kFormat.has_min) y[r][s] = F32::fma(x_sum, scales[s].min[group], y[r][s]);
    }
  }
}

// Of inputs, asked for before their use; 4 was best of 2 to 16 (bench/RESULTS.md).
constexpr int kGroupsAhead = 4;

template <BlockFormat kFormat, int kRows>
[[gnu::noinline]] void multiply_panel(const PanelRows& p) {
  constexpr int kStrips = kStripsOfPanel;
  using Scales = BlockScales<kFormat>;
  const ActivationGroup* x[kRows];
  for (int r = 0; r < kRows; ++r) x[r] = p.x + (r < p.rows ? r : p.rows - 1) * p.x_stride;
  F32 y[kRows][kStrips];
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kStrips; ++s) y[r][s] = F32::zero();
  }
  const std::uint8_t* block = p.w;
  for (std::int64_t i = 0; i < p.blocks; ++i, block += kFormat.panel_bytes()) {
    Scales scales[kStrips];
    const std::uint8_t* w[kStrips];
    for (int s = 0; s < kStrips; ++s) {
      scales[s].load(block, s);
      w[s] = block + kFormat.panel_codes() + s * kStripBytes;
    }
    constexpr int kShare = kFormat.panel_bytes() / kFormat.groups();
    for (int g = 0; g < kFormat.groups(); ++g) {
      // Loads of whole codes come fast enough for any processor to see the stream. Read once, it need not
      // drive out of the second-level cache what small steps come back to.
      if (kFormat.low_bits < 8 && p.ahead > 0) {
        for (int at = 0; at < kShare; at += 64) __builtin_prefetch(block + p.ahead + g * kShare + at, 0, 0);
      }
      add_part<kFormat, 0>(w, x, scales, g, y);
      if constexpr (Scales::kParts == 2) add_part<kFormat, 1>(w, x, scales, g, y);
      for (int r = 0; r < kRows; ++r) {
        ++x[r];
        // Panels drive inputs out to the second-level cache, where these would wait behind misses of panels.
        __builtin_prefetch(x[r] + kGroupsAhead);
      }
      for (int s = 0; s < kStrips; ++s) w[s] += kFormat.group_bytes();
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kStrips; ++s)
      y[r][s].store(p.sums + r * tessera::ops::kPanelColumns + s * F32::kLanes);
  }
}

// 6, 4, 2 or 1 rows at once: one too many costs less than code for every number.
constexpr int fewer_rows(int rows) { return rows == 6 ? 4 : rows / 2; }

template <BlockFormat kFormat, int kRows = kFewRows>
void multiply_rows(const PanelRows& p) {
  if constexpr (kRows > 1) {
    if (p.rows <= fewer_rows(kRows)) return multiply_rows<kFormat, fewer_rows(kRows)>(p);
  }
  multiply_panel<kFormat, kRows>(p);
}

template <BlockFormat kFormat>
void matmul_blocks(const tessera::ops::MatmulTile& t) {
  if (t.rows > kFewRows) return multiply_slabs<kFormat>(t);
  constexpr std::int64_t kColumns = tessera::ops::kPanelColumns;
  alignas(64) float sums[kFewRows * kColumns];
  const auto* panel = static_cast<const std::uint8_t*>(t.w);
  for (std::int64_t column = 0; column < t.columns; column += kColumns, panel += t.w_stride) {
    multiply_rows<kFormat>({static_cast<const ActivationGroup*>(t.x), t.x_stride, t.rows, panel,
                            t.k / kFormat.elems, sums, t.bytes_ahead});
    for (std::int64_t m = 0; m < t.rows; ++m) store_sums(t, m, column, sums + m * kColumns, kColumns);
  }
}

}  // namespace
