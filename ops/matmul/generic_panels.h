// Products over panels of 16 columns, on vectors of either width.
#pragma once

namespace {

constexpr int kPanelVectors = tessera::ops::kPanelColumns / F32::kLanes;
constexpr int kMaxPanels = 4;

// kStep inputs of k at once, kept as kWords dwords; `get` gives what word i of a panel's step multiplies with
// as kPanelVectors vectors, `add` adds a product.
struct FloatWords {
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

// Registers for the sums of `rows` x `panels` panels, weights of one step, an input and a mask.
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

struct Block {
  const float* x;          // rows kBlockStride apart
  const std::uint16_t* w;  // the first panel, at the block's first k
  std::int64_t panel;      // elements from one panel to the next
  std::int64_t depth;      // a multiple of the format's step
  float* y;
  std::int64_t y_stride;
  bool first;  // sums start from zero, not from y
};

// Adds kRows x (kPanels * 16) products to y. Sums between two blocks rest in y: f32 there as in registers.
template <typename Format, int kRows, int kPanels>
[[gnu::noinline]] void multiply(const Block& b) {
  constexpr int kVectors = kPanels * kPanelVectors;
  F32 sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = b.first ? F32::zero() : F32::load(b.y + r * b.y_stride + v * F32::kLanes);
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
    for (int v = 0; v < kVectors; ++v) sum[r][v].store(b.y + r * b.y_stride + v * F32::kLanes);
  }
}

// All of `panels`, as many at once as kPanels says, the rest in halves of it.
template <typename Format, int kRows, int kPanels>
void multiply_panels(Block b, int panels) {
  while (panels >= kPanels) {
    multiply<Format, kRows, kPanels>(b);
    b.w += kPanels * b.panel;
    b.y += kPanels * tessera::ops::kPanelColumns;
    panels -= kPanels;
  }
  if constexpr (kPanels > 1) {
    if (panels > 0) multiply_panels<Format, kRows, kPanels / 2>(b, panels);
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

inline void copy_tile(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride,
                      std::int64_t rows, std::int64_t columns) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) to[r * to_stride + c] = from[r * from_stride + c];
  }
}

// A block whose last panel has fewer than 16 columns of y: through a tile that has them all.
template <typename Format>
void multiply_edge(Block b, std::int64_t rows, int panels, std::int64_t columns) {
  constexpr std::int64_t kStride = kMaxPanels * tessera::ops::kPanelColumns;
  alignas(64) float tile[max_rows<Format>() * kStride] = {};
  float* y = b.y;
  const std::int64_t y_stride = b.y_stride;
  if (!b.first) copy_tile(y, y_stride, tile, kStride, rows, columns);
  b.y = tile;
  b.y_stride = kStride;
  multiply_rows<Format>(b, rows, panels);
  copy_tile(tile, kStride, y, y_stride, rows, columns);
}

// Copies inputs [k, k + depth) of the tile's rows, zeros up to `padded`.
template <typename Format>
void copy_inputs(const tessera::ops::MatmulTile& t, std::int64_t k, std::int64_t depth, std::int64_t padded,
                 float* to) {
  for (std::int64_t r = 0; r < t.rows; ++r, to += tessera::ops::kBlockStride) {
    Format::copy(static_cast<const float*>(t.x) + r * t.x_stride + k, depth, padded, to);
  }
}

inline void add_bias(const tessera::ops::MatmulTile& t) {
  for (std::int64_t r = 0; r < t.rows; ++r) {
    float* y = t.y + r * t.y_stride;
    std::int64_t n = 0;
    for (; n + F32::kLanes <= t.columns; n += F32::kLanes) {
      (F32::load(y + n) + F32::load(t.bias + n)).store(y + n);
    }
    for (; n < t.columns; ++n) y[n] += t.bias[n];
  }
}

// The inputs of one block of k for all rows and columns of the tile: each group of panels stays in the cache
// while the blocks of rows, as equal as can be, pass over it.
template <typename Format>
void multiply_block(const tessera::ops::MatmulTile& t, const Block& block) {
  using tessera::ops::kPanelColumns;
  constexpr std::int64_t kMaxRows = max_rows<Format>(), kGroup = kMaxPanels * kPanelColumns;
  const std::int64_t row_blocks = (t.rows + kMaxRows - 1) / kMaxRows;
  for (std::int64_t n = 0; n < t.columns; n += kGroup) {
    const std::int64_t left = t.columns - n;
    const std::int64_t columns = left < kGroup ? left : kGroup;
    const int panels = static_cast<int>((columns + kPanelColumns - 1) / kPanelColumns);
    for (std::int64_t i = 0; i < row_blocks; ++i) {
      const std::int64_t begin = i * t.rows / row_blocks, end = (i + 1) * t.rows / row_blocks;
      Block b = block;
      b.x += begin * tessera::ops::kBlockStride;
      b.w += n / kPanelColumns * b.panel;
      b.y = t.y + begin * t.y_stride + n;
      if (columns % kPanelColumns == 0) {
        multiply_rows<Format>(b, end - begin, panels);
      } else {
        multiply_edge<Format>(b, end - begin, panels, columns);
      }
    }
  }
}

template <typename Format>
void matmul_panels(const tessera::ops::MatmulTile& t) {
  using tessera::ops::kBlockDepth;
  auto* x = static_cast<float*>(t.workspace);
  const std::int64_t padded = (t.k + Format::kStep - 1) / Format::kStep * Format::kStep;
  for (std::int64_t k = 0; k < padded || k == 0; k += kBlockDepth) {
    const std::int64_t depth = padded - k < kBlockDepth ? padded - k : kBlockDepth;
    copy_inputs<Format>(t, k, t.k - k < depth ? t.k - k : depth, depth, x);
    const std::uint16_t* w = static_cast<const std::uint16_t*>(t.w) + k * tessera::ops::kPanelColumns;
    multiply_block<Format>(t, {x, w, t.w_stride / 2, depth, nullptr, t.y_stride, k == 0});
  }
  if (t.bias) add_bias(t);
}

}  // namespace
