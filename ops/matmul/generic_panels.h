// Products over panels of 16 columns, on vectors of either width.
#pragma once

#include "ops/matmul/generic_sums.h"

namespace {

constexpr int kPanelVectors = tessera::ops::kPanelColumns / F32::kLanes;
constexpr int kMaxPanels = 4;

// kStep inputs of k at once, kept as kWords dwords; `get` gives what word i of a panel's step multiplies with
// as kPanelVectors vectors, `add` adds a product. Where kConverts, `convert` lays the k of a block of a panel
// out anew, for all rows of the tile, before `get` reads it.
struct FloatWords {
  static constexpr bool kConverts = false;
  static F32 add(F32 input, F32 weight, F32 sum) { return F32::fma(input, weight, sum); }
  // n inputs, and zeros up to `padded`.
  static void copy(const float* from, std::int64_t n, std::int64_t padded, float* to) {
    std::int64_t i = 0;
    for (; i + F32::kLanes <= n; i += F32::kLanes) F32::load(from + i).store(to + i);
    for (; i < n; ++i) to[i] = from[i];
    for (; i < padded; ++i) to[i] = 0;
  }
};
struct F16Panels : FloatWords {
  static constexpr int kStep = 1, kWords = 1;
  static void get(const std::uint16_t* w, F32 (&out)[kWords][kPanelVectors]) {
    for (int v = 0; v < kPanelVectors; ++v) out[0][v] = F32::load_f16(w + v * F32::kLanes);
  }
};
struct Bf16Panels : FloatWords {
  static constexpr int kStep = 2, kWords = 2;
  static void get(const std::uint16_t* w, F32 (&out)[kWords][kPanelVectors]) {
    for (int v = 0; v < kPanelVectors; ++v) {
      F32::load_bf16_pairs(w + v * 2 * F32::kLanes, out[0][v], out[1][v]);
    }
  }
};

// Registers for the sums of `rows` x `panels` panels, weights of one step, and an input; one is left over.
template <typename Format>
constexpr bool fits(int rows, int panels) {
  return panels * kPanelVectors * (rows + Format::kWords) + 2 <= F32::kRegisters;
}

// Few rows take more panels side by side: enough independent sums to hide the latency of the FMA, and more
// weights under way from memory.
template <typename Format>
constexpr int panels_beside(int rows) {
  int panels = kMaxPanels;
  while (panels > 1 && !fits<Format>(rows, panels)) panels /= 2;
  return panels;
}

// Rows of a full block; it has two vectors of columns on every level.
template <typename Format>
constexpr int max_rows() {
  int rows = 1;
  while (fits<Format>(rows + 1, 2 / kPanelVectors)) ++rows;
  return rows;
}

// Inputs of k in a block.
template <typename Format>
constexpr std::int64_t block_depth() {
  return tessera::ops::kBlockWords * Format::kStep / Format::kWords;
}

struct Block {
  const float* x;          // rows kBlockStride apart
  const std::uint16_t* w;  // the first panel, at the block's first k
  std::int64_t panel;      // elements from one panel to the next
  std::int64_t depth;      // a multiple of the format's step
  float* sums;             // rows kSumColumns apart
  bool first;              // they start from zero
};

// Adds kRows x (kPanels * 16) products to the sums.
template <typename Format, int kRows, int kPanels>
[[gnu::noinline]] void multiply(const Block& b) {
  using tessera::ops::kSumColumns;
  constexpr int kVectors = kPanels * kPanelVectors;
  F32 sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = b.first ? F32::zero() : F32::load(b.sums + r * kSumColumns + v * F32::kLanes);
    }
  }
  const float* x = b.x;
  const std::uint16_t* w = b.w;
  for (std::int64_t k = 0; k < b.depth; k += Format::kStep) {
    F32 weight[kPanels][Format::kWords][kPanelVectors];
    for (int p = 0; p < kPanels; ++p) Format::get(w + p * b.panel, weight[p]);
    for (int s = 0; s < Format::kWords; ++s) {
      for (int r = 0; r < kRows; ++r) {
        const F32 input = F32::all(x[r * tessera::ops::kBlockStride + s]);
        for (int v = 0; v < kVectors; ++v) {
          sum[r][v] = Format::add(input, weight[v / kPanelVectors][s][v % kPanelVectors], sum[r][v]);
        }
      }
    }
    x += Format::kWords;
    w += Format::kStep * tessera::ops::kPanelColumns;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v].store(b.sums + r * kSumColumns + v * F32::kLanes);
  }
}

// All of `panels`, as many at once as kPanels says, the rest in halves of it.
template <typename Format, int kRows, int kPanels>
void multiply_panels(Block b, int panels) {
  if (panels >= kPanels) return multiply<Format, kRows, kPanels>(b);
  if constexpr (kPanels > 1) {
    constexpr int kHalf = kPanels / 2;
    if (panels > kHalf) {
      multiply<Format, kRows, kHalf>(b);
      b.w += kHalf * b.panel;
      b.sums += kHalf * tessera::ops::kPanelColumns;
      panels -= kHalf;
    }
    multiply_panels<Format, kRows, kHalf>(b, panels);
  }
}

template <typename Format, int kRows = max_rows<Format>()>
void multiply_rows(const Block& b, std::int64_t rows, int panels) {
  if (rows == kRows) {
    multiply_panels<Format, kRows, panels_beside<Format>(kRows)>(b, panels);
  } else if constexpr (kRows > 1) {
    multiply_rows<Format, kRows - 1>(b, rows, panels);
  }
}

// Copies inputs [k, k + depth) of the tile's rows, zeros up to `padded`.
template <typename Format>
void copy_inputs(const tessera::ops::MatmulTile& t, std::int64_t k, std::int64_t depth, std::int64_t padded,
                 float* to) {
  for (std::int64_t r = 0; r < t.rows; ++r, to += tessera::ops::kBlockStride) {
    Format::copy(static_cast<const float*>(t.x) + r * t.x_stride + k, depth, padded, to);
  }
}

// The inputs of one block of k, `inputs` that there are, for all rows and columns of the tile: panels stay in
// the first cache while the blocks of rows, as equal as can be, pass over them.
template <typename Format>
void multiply_block(const tessera::ops::MatmulTile& t, const Block& block, std::int64_t inputs) {
  using tessera::ops::kPanelColumns, tessera::ops::kSumColumns;
  constexpr std::int64_t kMaxRows = max_rows<Format>();
  const std::int64_t row_blocks = (t.rows + kMaxRows - 1) / kMaxRows;
  const std::int64_t panels = (t.columns + kPanelColumns - 1) / kPanelColumns;
  constexpr std::int64_t kConvertedPanel = block_depth<Format>() * kPanelColumns;
  alignas(64) std::uint16_t converted[Format::kConverts ? kMaxPanels * kConvertedPanel : 1];
  const int beside = panels_beside<Format>(static_cast<int>((t.rows + row_blocks - 1) / row_blocks));
  for (std::int64_t p = 0; p < panels; p += beside) {
    const std::int64_t column = p * kPanelColumns, left = panels - p;
    Block of_panels = block;
    of_panels.w += p * block.panel;
    if constexpr (Format::kConverts) {
      for (int i = 0; i < beside && i < left; ++i) {
        Format::convert(of_panels.w + i * block.panel, inputs, converted + i * kConvertedPanel);
      }
      of_panels.w = converted;
      of_panels.panel = kConvertedPanel;
    }
    for (std::int64_t i = 0; i < row_blocks; ++i) {
      const std::int64_t begin = i * t.rows / row_blocks, end = (i + 1) * t.rows / row_blocks;
      Block b = of_panels;
      b.x += begin * tessera::ops::kBlockStride;
      b.sums += (column / kSumColumns * t.rows + begin) * kSumColumns + column % kSumColumns;
      multiply_rows<Format>(b, end - begin, static_cast<int>(left < beside ? left : beside));
    }
  }
}

template <typename Format>
void matmul_panels(const tessera::ops::MatmulTile& t) {
  using tessera::ops::kBlockStride, tessera::ops::kSumColumns;
  constexpr std::int64_t kBlockDepth = block_depth<Format>();
  auto* x = static_cast<float*>(t.workspace);
  float* sums = x + t.rows * kBlockStride;
  const std::int64_t padded = (t.k + Format::kStep - 1) / Format::kStep * Format::kStep;
  for (std::int64_t k = 0; k < padded || k == 0; k += kBlockDepth) {
    const std::int64_t depth = padded - k < kBlockDepth ? padded - k : kBlockDepth;
    const std::int64_t inputs = t.k - k < depth ? t.k - k : depth;
    copy_inputs<Format>(t, k, inputs, depth, x);
    const std::uint16_t* w = static_cast<const std::uint16_t*>(t.w) + k * tessera::ops::kPanelColumns;
    multiply_block<Format>(t, {x, w, t.w_stride / 2, depth, sums, k == 0}, inputs);
  }
  for (std::int64_t column = 0; column < t.columns; column += kSumColumns) {
    for (std::int64_t r = 0; r < t.rows; ++r, sums += kSumColumns) {
      store_sums(t, r, column, sums, kSumColumns);
    }
  }
}

}  // namespace
