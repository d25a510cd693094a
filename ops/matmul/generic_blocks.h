// Products over panels of block formats with integer dot products, on vectors of either width. Few rows read
// the panels as they lie; for more, generic_slabs.h unpacks them first.
#pragma once

#include "ops/matmul/generic_block_codes.h"
#include "ops/matmul/generic_slabs.h"

namespace {

// Rows and strips of a block of outputs: sums of as many as fit into registers beside codes and inputs.
// Several strips let an input serve several dot products, and bring more weights under way.
constexpr int kWide = F32::kRegisters == 32 ? 4 : 2, kFewRows = F32::kRegisters == 32 ? 6 : 2;

struct Strips {
  const ActivationGroup* x;
  std::int64_t x_stride;  // groups from one row to the next
  std::int64_t rows;      // that are there; others repeat the last one
  const std::uint8_t* w;  // the first panel's first block
  std::int64_t panel;     // bytes from one panel to the next
  std::int64_t first;     // strip, counted from w
  std::int64_t blocks;    // of k
  float* sums;            // rows of strips, one after the other
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
                                            float* sums) {
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
    const F32 d = F32::all(x[r]->d), all = F32::all(x[r]->d * static_cast<float>(codes(r)));
    for (int s = 0; s < kStrips; ++s) {
      float* at = sums + (r * kStrips + s) * F32::kLanes;
      F32 y = F32::fma(sum[r][s].to_f32() * d, scales[s].scale[group * kParts + kPart], F32::load(at));
      if constexpr (kFormat.has_min) y = F32::fma(all, scales[s].min[group], y);
      y.store(at);
    }
  }
}

// kRows x kStrips sums over the whole of k. They rest in memory: the registers hold the integers of a group.
template <BlockFormat kFormat, int kRows, int kStrips>
[[gnu::noinline]] void multiply_blocks(const Strips& b) {
  using Scales = BlockScales<kFormat>;
  const ActivationGroup* x[kRows];
  for (int r = 0; r < kRows; ++r) x[r] = b.x + (r < b.rows ? r : b.rows - 1) * b.x_stride;
  const std::uint8_t* block[kStrips];
  int strip[kStrips];
  for (int s = 0; s < kStrips; ++s) {
    block[s] = b.w + (b.first + s) / kStripsOfPanel * b.panel;
    strip[s] = static_cast<int>((b.first + s) % kStripsOfPanel);
  }
  float* sums = b.sums;
  for (int i = 0; i < kRows * kStrips; ++i) F32::zero().store(sums + i * F32::kLanes);
  for (std::int64_t i = 0; i < b.blocks; ++i) {
    Scales scales[kStrips];
    const std::uint8_t* w[kStrips];
    for (int s = 0; s < kStrips; ++s) {
      scales[s].load(block[s], strip[s]);
      w[s] = block[s] + kFormat.panel_codes() + strip[s] * kStripBytes;
      block[s] += kFormat.panel_bytes();
    }
    for (int g = 0; g < kFormat.groups(); ++g) {
      add_part<kFormat, 0>(w, x, scales, g, sums);
      if constexpr (Scales::kParts == 2) add_part<kFormat, 1>(w, x, scales, g, sums);
      for (int r = 0; r < kRows; ++r) ++x[r];
      for (int s = 0; s < kStrips; ++s) w[s] += kFormat.group_bytes();
    }
  }
}

// Sums to y, with the bias; what was computed beyond rows and columns is dropped.
inline void store_sums(const tessera::ops::MatmulTile& t, const Strips& b, int strips) {
  const std::int64_t begin = b.first * F32::kLanes, width = strips * F32::kLanes;
  const std::int64_t columns = t.columns - begin < width ? t.columns - begin : width;
  for (std::int64_t r = 0; r < b.rows; ++r) {
    const float* from = b.sums + r * width;
    float* y = t.y + r * t.y_stride + begin;
    for (std::int64_t n = 0; n < columns; n += F32::kLanes) {
      const std::int64_t left = columns - n;
      F32 v = F32::load(from + n);
      if (left >= F32::kLanes) {
        if (t.bias) v = v + F32::load(t.bias + begin + n);
        v.store(y + n);
      } else {
        if (t.bias) v = v + F32::load_n(t.bias + begin + n, left);
        v.store_n(y + n, left);
      }
    }
  }
}

// 6, 4, 2 or 1 rows at once: one too many costs less than code for every number.
constexpr int fewer_rows(int rows) { return rows == 6 ? 4 : rows / 2; }

template <BlockFormat kFormat, int kStrips, int kRows = kFewRows>
void multiply_strips(const Strips& b) {
  if constexpr (kRows > 1) {
    if (b.rows <= fewer_rows(kRows)) return multiply_strips<kFormat, kStrips, fewer_rows(kRows)>(b);
  }
  multiply_blocks<kFormat, kRows, kStrips>(b);
}

template <BlockFormat kFormat>
void multiply_few(const tessera::ops::MatmulTile& t) {
  alignas(64) float sums[kFewRows * kWide * F32::kLanes];
  const std::int64_t strips = (t.columns + F32::kLanes - 1) / F32::kLanes;
  for (std::int64_t n = 0; n < strips;) {
    const int count = strips - n >= kWide ? kWide : 1;
    const Strips b{static_cast<const ActivationGroup*>(t.x),
                   t.x_stride,
                   t.rows,
                   static_cast<const std::uint8_t*>(t.w),
                   t.w_stride,
                   n,
                   t.k / kFormat.elems,
                   sums};
    if (count == 1) {
      multiply_strips<kFormat, 1>(b);
    } else {
      multiply_strips<kFormat, kWide>(b);
    }
    store_sums(t, b, count);
    n += count;
  }
}

template <BlockFormat kFormat>
void matmul_blocks(const tessera::ops::MatmulTile& t) {
  if (t.rows <= kFewRows) return multiply_few<kFormat>(t);
  multiply_slabs<kFormat>(t);
}

}  // namespace
