// Products over panels of block formats with integer dot products, on vectors of either width.
#pragma once

namespace {

using tessera::ops::ActivationGroup;
using tessera::ops::BlockFormat;
using tessera::ops::SubScales;

// Columns are taken in strips, one vector of F32 each.
constexpr int kStripsOfPanel = tessera::ops::kPanelColumns / F32::kLanes;
constexpr int kStripBytes = 4 * F32::kLanes;  // of a vector of codes

// Rows and strips of a block of outputs: sums of as many as fit into registers beside codes and inputs. Few
// rows take more strips, so that an input serves several dot products and more weights are under way.
constexpr int kWide = F32::kRegisters == 32 ? 4 : 2, kNarrow = kWide / 2;
constexpr int kFewRows = F32::kRegisters == 32 ? 6 : 2, kManyRows = F32::kRegisters == 32 ? 12 : 8;

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

template <BlockFormat kFormat>
using DotsOf = Dots<(1 << (kFormat.low_bits + kFormat.high_bits)) - 1>;

// Bits of code vector kIndex from a plane of kBits bits, moved up to bit kTo of their bytes.
template <int kBits, int kIndex, int kTo>
Quads field(const std::uint8_t* plane) {
  const Quads word = Quads::load(plane + kIndex % kBits * 64);
  if constexpr (kBits == 8) return word;
  constexpr int kAt = kIndex / kBits * kBits;
  return word.shifted_right<kAt - kTo>() & Quads::all_bytes(((1 << kBits) - 1) << kTo);
}

template <BlockFormat kFormat, int kIndex>
Quads code(const std::uint8_t* group) {
  const Quads low = field<kFormat.low_bits, kIndex, 0>(group);
  if constexpr (kFormat.high_bits > 0) {
    return low | field<kFormat.high_bits, kIndex, kFormat.low_bits>(group + 64 * kFormat.low_bits);
  }
  return low;
}

// What the integer sums of a block are multiplied with, for one strip.
template <BlockFormat kFormat>
struct BlockScales {
  static constexpr int kParts = kFormat.sub_scales == SubScales::kInt8 ? 2 : 1;  // sums of a group
  F32 scale[kFormat.groups() * kParts];
  F32 min[kFormat.has_min ? kFormat.groups() : 1];

  void load(const std::uint8_t* block, int strip) {
    const F32 d = load_f16(block, strip);
    if constexpr (kFormat.sub_scales == SubScales::kOne) {
      scale[0] = d;
      if constexpr (kFormat.has_min) min[0] = load_f16(block + kFormat.panel_m(), strip);
    } else if constexpr (kFormat.sub_scales == SubScales::kInt8) {
      const std::uint8_t* scales = block + kFormat.panel_scales() + strip * F32::kLanes;
      for (int i = 0; i < kFormat.scale_bytes(); ++i) {
        scale[i] = d * I32::load_i8(scales + i * tessera::ops::kPanelColumns).to_f32();
      }
    } else {
      load_six_bits(block + kFormat.panel_scales() + strip * kStripBytes, d,
                    F32::zero() - load_f16(block + kFormat.panel_m(), strip));
    }
  }

 private:
  static F32 load_f16(const std::uint8_t* numbers, int strip) {
    return F32::load_f16(reinterpret_cast<const std::uint16_t*>(numbers) + strip * F32::kLanes);
  }
  void load_six_bits(const std::uint8_t* scales, F32 d, F32 minus_dmin) {
    const Quads a = Quads::load(scales), b = Quads::load(scales + 64), c = Quads::load(scales + 128);
    const Quads six = Quads::all_bytes(63), four = Quads::all_bytes(15), upper = Quads::all_bytes(48);
    spread<0>(a & six, d, scale);
    spread<0>((c & four) | (a.shifted_right<2>() & upper), d, scale + 4);
    spread<0>(b & six, minus_dmin, min);
    spread<0>((c.shifted_right<4>() & four) | (b.shifted_right<2>() & upper), minus_dmin, min + 4);
  }
  template <int kIndex>
  static void spread(Quads bytes, F32 unit, F32* to) {
    to[kIndex] = unit * I32::byte<kIndex>(bytes).to_f32();
    if constexpr (kIndex < 3) spread<kIndex + 1>(bytes, unit, to);
  }
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
inline void store_sums(const tessera::ops::MatmulTile& t, const Strips& b, std::int64_t row, int strips) {
  const std::int64_t begin = b.first * F32::kLanes, width = strips * F32::kLanes;
  const std::int64_t columns = t.columns - begin < width ? t.columns - begin : width;
  for (std::int64_t r = 0; r < b.rows; ++r) {
    const float* from = b.sums + r * width;
    float* y = t.y + (row + r) * t.y_stride + begin;
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

// 12, 8, 4, 2 or 1 rows at once, beside kWide strips 6, 4, 2 or 1: a few too many cost less than code for
// every number.
constexpr int fewer_rows(int rows) { return rows == 12 ? 8 : rows == 6 ? 4 : rows / 2; }

template <BlockFormat kFormat, int kStrips, int kRows = kStrips <= kNarrow ? kManyRows : kFewRows>
void multiply_strips(const Strips& b) {
  if constexpr (kRows > 1) {
    if (b.rows <= fewer_rows(kRows)) return multiply_strips<kFormat, kStrips, fewer_rows(kRows)>(b);
  }
  multiply_blocks<kFormat, kRows, kStrips>(b);
}

template <BlockFormat kFormat>
void matmul_blocks(const tessera::ops::MatmulTile& t) {
  static_assert(kFewRows * kWide <= kManyRows * kNarrow);
  alignas(64) float sums[kManyRows * kNarrow * F32::kLanes];
  const std::int64_t strips = (t.columns + F32::kLanes - 1) / F32::kLanes;
  // Blocks of rows about equally high.
  const std::int64_t row_blocks = (t.rows + kManyRows - 1) / kManyRows;
  const std::int64_t most = (t.rows + row_blocks - 1) / row_blocks;
  const int wide = most <= kFewRows ? kWide : kNarrow;
  for (std::int64_t n = 0; n < strips;) {
    const int count = strips - n >= wide ? wide : 1;
    for (std::int64_t i = 0; i < row_blocks; ++i) {
      const std::int64_t row = i * t.rows / row_blocks, end = (i + 1) * t.rows / row_blocks;
      const Strips b{static_cast<const ActivationGroup*>(t.x) + row * t.x_stride,
                     t.x_stride,
                     end - row,
                     static_cast<const std::uint8_t*>(t.w),
                     t.w_stride,
                     n,
                     t.k / kFormat.elems,
                     sums};
      if (count == 1) {
        multiply_strips<kFormat, 1>(b);
      } else if (count == kNarrow) {
        multiply_strips<kFormat, kNarrow>(b);
      } else {
        multiply_strips<kFormat, kWide>(b);
      }
      store_sums(t, b, row, count);
    }
    n += count;
  }
}

}  // namespace
