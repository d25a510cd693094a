// Products of many rows over panels of block formats. Codes are unpacked once for all rows of the tile: a
// slab of kSlabColumns columns, kSlabDepth deep, stays in the first-level cache while blocks of rows pass
// over it.
//
// The depth is cut into parts, runs of codes with one scale: groups, or halves of them where the format
// scales each 16. A block of rows has for each part the rows' numbers, then the codes of one row after the
// other.
#pragma once

#include "ops/matmul/generic_block_codes.h"

namespace {

// Outputs in registers. Twice as many integer sums fit beside the codes: those of a part, and those of the
// part before it, which are scaled and added up between the dot products of this one.
constexpr int kBlockRows = F32::kRegisters == 32 ? 6 : 4, kBlockStrips = F32::kRegisters == 32 ? 2 : 1;
constexpr int kSlabStrips = static_cast<int>(tessera::ops::kSlabColumns) / F32::kLanes;
constexpr int kSlabBlocks = kSlabStrips / kBlockStrips;
constexpr std::int64_t kBlockColumns = kBlockStrips * F32::kLanes;
constexpr std::int64_t kSlabSums = kBlockRows * tessera::ops::kSlabColumns;  // of a block of rows
static_assert(tessera::ops::kSlabRows % kBlockRows == 0);

template <BlockFormat kFormat>
struct Slab {
  static constexpr int kPartsOfGroup = BlockScales<kFormat>::kParts;
  static constexpr int kQuads = 8 / kPartsOfGroup;  // of a part
  static constexpr int kMaxParts =
      static_cast<int>(tessera::ops::kSlabDepth) / tessera::ops::kGroupElements * kPartsOfGroup;
  // Of a part of a block of rows, in dwords: d, the start of the integer sums, the sum of the group where
  // there are mins, codes.
  static constexpr int kInputs = kBlockRows * (2 + kFormat.has_min + kQuads);
  static constexpr int kCodeBytes = kQuads * kBlockStrips * kStripBytes;  // of a part

  std::uint8_t* codes;   // [kSlabBlocks][kMaxParts][kQuads][kBlockStrips], vectors
  float *scales, *mins;  // [kSlabBlocks][kMaxParts][kBlockStrips], vectors
  float* sums;  // [slabs of the tile][blocks of rows][kSlabBlocks][kBlockRows][kBlockStrips], vectors
  std::int32_t* inputs;  // [blocks of rows][parts][kInputs]

  explicit Slab(const tessera::ops::MatmulTile& t) {
    constexpr std::int64_t kVectors = static_cast<std::int64_t>(kMaxParts) * tessera::ops::kSlabColumns;
    codes = static_cast<std::uint8_t*>(t.workspace);
    scales = reinterpret_cast<float*>(codes + tessera::ops::kSlabColumns * tessera::ops::kSlabDepth);
    mins = scales + kVectors;
    sums = mins + (kFormat.has_min ? kVectors : 0);
    inputs = reinterpret_cast<std::int32_t*>(sums_of(t, t.columns + tessera::ops::kSlabColumns - 1));
  }
  // Of the slab of columns from `column` on.
  float* sums_of(const tessera::ops::MatmulTile& t, std::int64_t column) const {
    return sums + column / tessera::ops::kSlabColumns * ((t.rows + kBlockRows - 1) / kBlockRows) * kSlabSums;
  }
};

// What one block of rows and strips reads of a slab, and its sums.
struct SlabBlock {
  const std::int32_t* inputs;
  const std::uint8_t* codes;
  const float *scales, *mins;
  int parts;
  float* sums;  // [kBlockRows][kBlockStrips], vectors
};

// Rows [kBegin, kEnd) of finished integer sums, scaled and added to the block's.
template <BlockFormat kFormat, int kBegin, int kEnd>
[[gnu::always_inline]] inline void add_scaled(const I32 (&done)[kBlockRows][kBlockStrips],
                                              const SlabBlock& b) {
#pragma GCC unroll 8
  for (int r = kBegin; r < kEnd; ++r) {
    const F32 d = F32::all(__builtin_bit_cast(float, b.inputs[r]));
#pragma GCC unroll 2
    for (int s = 0; s < kBlockStrips; ++s) {
      float* at = b.sums + (r * kBlockStrips + s) * F32::kLanes;
      F32 y = F32::fma(done[r][s].to_f32() * d, F32::load(b.scales + s * F32::kLanes), F32::load(at));
      if constexpr (kFormat.has_min) {
        const F32 all = F32::all(__builtin_bit_cast(float, b.inputs[2 * kBlockRows + r]));
        y = F32::fma(all, F32::load(b.mins + s * F32::kLanes), y);
      }
      y.store(at);
    }
  }
}

// Adds the dot products of quads kQuad and up of a part, and between them the sums of the part before it.
template <BlockFormat kFormat, bool kAfterOther, int kQuad = 0>
[[gnu::always_inline]] inline void add_quads(const SlabBlock& b, const I32 (&done)[kBlockRows][kBlockStrips],
                                             const SlabBlock& before, I32 (&sum)[kBlockRows][kBlockStrips]) {
  using Dot = DotsOf<kFormat>;
  constexpr int kStep = Dot::kStep, kQuads = Slab<kFormat>::kQuads;
  constexpr int kCodes = kBlockRows * (2 + kFormat.has_min);
  typename Dot::Weight weight[kBlockStrips][kStep];
#pragma GCC unroll 4
  for (int j = 0; j < kStep; ++j) {
#pragma GCC unroll 2
    for (int s = 0; s < kBlockStrips; ++s) {
      weight[s][j] = Dot::weight(Quads::load(b.codes + ((kQuad + j) * kBlockStrips + s) * kStripBytes));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kBlockRows; ++r) {
    Quads input[kStep];
#pragma GCC unroll 4
    for (int j = 0; j < kStep; ++j) {
      input[j] = Quads::all(b.inputs + kCodes + r * kQuads + kQuad + j);
    }
#pragma GCC unroll 2
    for (int s = 0; s < kBlockStrips; ++s) sum[r][s] = Dot::add(sum[r][s], weight[s], input);
  }
  if constexpr (kAfterOther) {
    add_scaled<kFormat, kQuad * kBlockRows / kQuads, (kQuad + kStep) * kBlockRows / kQuads>(done, before);
  }
  if constexpr (kQuad + kStep < kQuads) {
    add_quads<kFormat, kAfterOther, kQuad + kStep>(b, done, before, sum);
  }
}

[[gnu::always_inline]] inline void begin_sums(const SlabBlock& b, I32 (&sum)[kBlockRows][kBlockStrips]) {
#pragma GCC unroll 8
  for (int r = 0; r < kBlockRows; ++r) {
#pragma GCC unroll 2
    for (int s = 0; s < kBlockStrips; ++s) sum[r][s] = I32::all(b.inputs[kBlockRows + r]);
  }
}

template <BlockFormat kFormat>
[[gnu::always_inline]] inline void next_part(SlabBlock& b) {
  b.inputs += Slab<kFormat>::kInputs;
  b.codes += Slab<kFormat>::kCodeBytes;
  b.scales += kBlockStrips * F32::kLanes;
  b.mins += kBlockStrips * F32::kLanes;
}

template <BlockFormat kFormat>
[[gnu::noinline]] void multiply_slab_block(const SlabBlock& block) {
  SlabBlock b = block, before = block;
  I32 done[kBlockRows][kBlockStrips], sum[kBlockRows][kBlockStrips];
  begin_sums(b, done);
  add_quads<kFormat, false>(b, done, before, done);
  for (int part = 1; part < block.parts; ++part) {
    next_part<kFormat>(b);
    begin_sums(b, sum);
    add_quads<kFormat, true>(b, done, before, sum);
    next_part<kFormat>(before);
    // Sums stay in memory: the compiler would hold them in registers and put integers on the stack instead.
    asm("" : "+r"(before.sums));
#pragma GCC unroll 8
    for (int r = 0; r < kBlockRows; ++r) {
#pragma GCC unroll 2
      for (int s = 0; s < kBlockStrips; ++s) done[r][s] = sum[r][s];
    }
  }
  add_scaled<kFormat, 0, kBlockRows>(done, before);
}

// Groups [first, first + groups) of the tile's rows as the slab's inputs; rows past the last one repeat it.
template <BlockFormat kFormat>
void rearrange_rows(const tessera::ops::MatmulTile& t, const Slab<kFormat>& slab, std::int64_t first,
                    std::int64_t groups) {
  constexpr int kParts = Slab<kFormat>::kPartsOfGroup, kQuads = Slab<kFormat>::kQuads;
  constexpr int kOffset = kFormat.offset - DotsOf<kFormat>::kTaken;
  const auto* x = static_cast<const ActivationGroup*>(t.x) + first;
  std::int32_t* to = slab.inputs;
  for (std::int64_t row = 0; row < t.rows; row += kBlockRows) {
    const ActivationGroup* from[kBlockRows];
    for (int r = 0; r < kBlockRows; ++r) from[r] = x + (row + r < t.rows ? row + r : t.rows - 1) * t.x_stride;
    for (std::int64_t g = 0; g < groups; ++g) {
      for (int part = 0; part < kParts; ++part, to += Slab<kFormat>::kInputs) {
        for (int r = 0; r < kBlockRows; ++r) {
          const ActivationGroup& group = from[r][g];
          const std::int32_t codes = kParts == 2 ? group.sums[part] : group.sums[0] + group.sums[1];
          to[r] = __builtin_bit_cast(std::int32_t, group.d);
          to[kBlockRows + r] = -kOffset * codes;
          if constexpr (kFormat.has_min) {
            to[2 * kBlockRows + r] = __builtin_bit_cast(std::int32_t, group.sum);
          }
          __builtin_memcpy(to + kBlockRows * (2 + kFormat.has_min) + r * kQuads, group.q + 4 * part * kQuads,
                           4 * kQuads);
        }
      }
    }
  }
}

template <BlockFormat kFormat, int kIndex = 0>
[[gnu::always_inline]] inline void unpack_group(const std::uint8_t* group, std::uint8_t* to) {
  using S = Slab<kFormat>;
  constexpr int kPart = kIndex / S::kQuads;
  code<kFormat, kIndex>(group).store(to + kPart * S::kCodeBytes +
                                     kIndex % S::kQuads * kBlockStrips * kStripBytes);
  if constexpr (kIndex < 7) unpack_group<kFormat, kIndex + 1>(group, to);
}

// Blocks [0, blocks) of strip `strip` of the slab, from `block` on, where the panel's strip is `of_panel`.
template <BlockFormat kFormat>
void unpack_strip(const Slab<kFormat>& slab, int strip, const std::uint8_t* block, int of_panel, int blocks) {
  using S = Slab<kFormat>;
  constexpr int kBlockParts = kFormat.groups() * S::kPartsOfGroup;
  int part = strip / kBlockStrips * S::kMaxParts;
  for (int i = 0; i < blocks; ++i, block += kFormat.panel_bytes()) {
    BlockScales<kFormat> scales;
    scales.load(block, of_panel);
    const std::uint8_t* group = block + kFormat.panel_codes() + of_panel * kStripBytes;
    for (int g = 0; g < kFormat.groups(); ++g, group += kFormat.group_bytes()) {
      unpack_group<kFormat>(group, slab.codes + (part + g * S::kPartsOfGroup) * S::kCodeBytes +
                                       strip % kBlockStrips * kStripBytes);
    }
    for (int p = 0; p < kBlockParts; ++p) {
      const int at = ((part + p) * kBlockStrips + strip % kBlockStrips) * F32::kLanes;
      scales.scale[p].store(slab.scales + at);
      if constexpr (kFormat.has_min) scales.min[p].store(slab.mins + at);
    }
    part += kBlockParts;
  }
}

// Blocks of k of a slab's columns, in the panels of the weight.
template <BlockFormat kFormat>
struct SlabSource {
  std::int64_t column, first, blocks;

  const std::uint8_t* panel(const tessera::ops::MatmulTile& t, std::int64_t at) const {
    return static_cast<const std::uint8_t*>(t.w) + at / tessera::ops::kPanelColumns * t.w_stride +
           first * kFormat.panel_bytes();
  }

  // Strips past the last panel are left as they are: their sums are never stored.
  void unpack(const tessera::ops::MatmulTile& t, const Slab<kFormat>& slab) const {
    for (int strip = 0; strip < kSlabStrips; ++strip) {
      const std::int64_t at = column + strip * F32::kLanes;
      if (at >= t.columns) break;
      unpack_strip(slab, strip, panel(t, at), strip % kStripsOfPanel, static_cast<int>(blocks));
    }
  }

  // Part i of n of the panels to the second-level cache. They are short and far from one another, no stream
  // that the processor would see by itself.
  void prefetch(const tessera::ops::MatmulTile& t, std::int64_t i, std::int64_t n) const {
    constexpr std::int64_t kLine = 64, kPanel = tessera::ops::kPanelColumns;
    const std::int64_t bytes = blocks * kFormat.panel_bytes();
    for (std::int64_t at = column; at < column + tessera::ops::kSlabColumns && at < t.columns; at += kPanel) {
      const std::uint8_t* from = panel(t, at);
      for (std::int64_t b = i * bytes / n / kLine * kLine; b < (i + 1) * bytes / n; b += kLine) {
        __builtin_prefetch(from + b, 0, 2);
      }
    }
  }
};

// To the second-level cache, while part i of n of the depth before them is multiplied: the inputs of the
// groups that begin with `first`, which rearrange_rows reads next.
inline void prefetch_inputs(const tessera::ops::MatmulTile& t, std::int64_t first, std::int64_t i,
                            std::int64_t n) {
  constexpr std::int64_t kLine = 64, kMostGroups = tessera::ops::kSlabDepth / tessera::ops::kGroupElements;
  const std::int64_t left = t.k / tessera::ops::kGroupElements - first;
  const std::int64_t bytes = (left < kMostGroups ? left : kMostGroups) * sizeof(ActivationGroup);
  const std::int64_t row_lines = (bytes + kLine - 1) / kLine, lines = t.rows * row_lines;
  for (std::int64_t line = i * lines / n; line < (i + 1) * lines / n; ++line) {
    const ActivationGroup* row = static_cast<const ActivationGroup*>(t.x) + line / row_lines * t.x_stride;
    __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(row + first) + line % row_lines * kLine, 0, 2);
  }
}

// All rows of the tile, over the depth that the slab holds.
template <BlockFormat kFormat>
void multiply_slab(const tessera::ops::MatmulTile& t, const Slab<kFormat>& slab,
                   const SlabSource<kFormat>& source, const SlabSource<kFormat>& next) {
  using S = Slab<kFormat>;
  const int parts = static_cast<int>(source.blocks) * kFormat.groups() * S::kPartsOfGroup;
  const std::int64_t row_blocks = (t.rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t slabs = (t.columns + tessera::ops::kSlabColumns - 1) / tessera::ops::kSlabColumns;
  const std::int64_t slab_index = source.column / tessera::ops::kSlabColumns;
  const std::int32_t* inputs = slab.inputs;
  float* sums = slab.sums_of(t, source.column);
  for (std::int64_t row = 0; row < row_blocks; ++row, inputs += parts * S::kInputs) {
    next.prefetch(t, row, row_blocks);
    prefetch_inputs(t, (source.first + source.blocks) * kFormat.groups(), slab_index * row_blocks + row,
                    slabs * row_blocks);
    for (int i = 0; i < kSlabBlocks; ++i, sums += kBlockRows * kBlockColumns) {
      const int part = i * S::kMaxParts, vector = part * kBlockColumns;
      multiply_slab_block<kFormat>(
          {inputs, slab.codes + part * S::kCodeBytes, slab.scales + vector, slab.mins + vector, parts, sums});
    }
  }
}

// The finished sums of a slab.
template <BlockFormat kFormat>
void store_slab(const tessera::ops::MatmulTile& t, const Slab<kFormat>& slab, std::int64_t column) {
  const float* sums = slab.sums_of(t, column);
  for (std::int64_t row = 0; row < t.rows; row += kBlockRows) {
    for (int i = 0; i < kSlabBlocks; ++i) {
      for (int r = 0; r < kBlockRows; ++r, sums += kBlockColumns) {
        const std::int64_t n = column + i * kBlockColumns;
        if (row + r < t.rows && n < t.columns) store_sums(t, row + r, n, sums, kBlockColumns);
      }
    }
  }
}

template <BlockFormat kFormat>
void multiply_slabs(const tessera::ops::MatmulTile& t) {
  const Slab<kFormat> slab(t);
  const std::int64_t blocks = t.k / kFormat.elems, most = tessera::ops::kSlabDepth / kFormat.elems;
  for (float* at = slab.sums; at < reinterpret_cast<float*>(slab.inputs); at += F32::kLanes)
    F32::zero().store(at);
  SlabSource<kFormat> source{0, 0, blocks < most ? blocks : most};
  while (source.first < blocks) {
    if (source.column == 0)
      rearrange_rows(t, slab, source.first * kFormat.groups(), source.blocks * kFormat.groups());
    SlabSource<kFormat> next = source;
    next.column += tessera::ops::kSlabColumns;
    if (next.column >= t.columns) {
      next.column = 0;
      next.first += source.blocks;
      next.blocks = blocks - next.first < most ? blocks - next.first : most;
    }
    source.unpack(t, slab);
    multiply_slab(t, slab, source, next);
    if (source.first + source.blocks == blocks) store_slab(t, slab, source.column);
    source = next;
  }
}

}  // namespace
