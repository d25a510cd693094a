// Products with a weight matrix.
//
//   y[m][n] = then(sum_k x[m][k] w[n][k] + bias[n])
//
// where then(a) is a, its GELU (ops/gelu/kernels.h), other[m][n] + a, or the SiLU of other[m][n] times a
// (ops/silu_mul/kernels.h).
//
// One call computes a tile of outputs over the whole of k. Rows of x and y are contiguous; y is floats, and x
// floats or, where w has a block format, groups of 32 (ops/matmul/activations.h); both at any alignment of
// floats. How w lies is the kernel's format (ops/matmul/pack.h); a tile of panels starts at the first column
// of a panel and reads whole panels.
//
// Order of summation, so that a row's bits do not depend on the other rows of the call, nor on the tile:
//   panels   one f32 sum for each output, from 0, over k ascending with fused multiply-add, then the bias;
//   pairs    (kAvx512Bf16, several rows) the same with x and weights of f16 rounded to bf16, nearest even,
//            denormals to zero, and of each two k the odd one first;
//   rows     one f32 sum for each lane of the level's vectors, fused, lanes added in a fixed tree, then the
//            bias; OpenBLAS has an order of its own, kept fixed by calls of whole blocks of rows;
//   blocks   exact integer sums over the codes of each group of 32 (of each 16 for Q6_K), less their offset;
//            then one f32 sum for each output, from 0, over groups ascending with fused multiply-add of
//            (integer * d of x) and the weight's scale; in formats with a min, after each group, of (d * sum
//            of the codes of x) and the min; then the bias. All vector levels give the same bits;
//   tiles    products of several rows, x and the weights as decoded rounded to bf16 (nearest even,
//            denormals to zero). One f32 sum for each output, from 0: for each 32 of k, ascending, two sums
//            from 0 with fused multiply-add, over even and over odd k, are added to one another and then to
//            it; zeros after the end of k; then the bias;
//   scalar   a double sum over k ascending, of the weights as decoded, rounded once after the bias.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activations.h"
#include "ops/matmul/block_formats.h"

namespace tessera::ops {

inline constexpr int kPanelColumns = 16;

enum class MatmulThen : std::int32_t { kNothing, kGeluTanh, kGeluErf, kAdd, kSiluMul };

struct MatmulTile {
  const void* x;                 // floats or ActivationGroups
  const void* w;                 // the tile's first row or panel
  const float* bias;             // of the tile's first column, or null
  const float* other = nullptr;  // what is added (kAdd), the gate (kSiluMul; may be y): as y from row to row
  float* y;
  void* workspace;                  // as many bytes as the kernel's row says, aligned to 64
  std::int64_t x_stride, y_stride;  // from row to row, in elements of x and y
  std::int64_t w_stride;            // bytes from one row of the weight, or one panel, to the next
  std::int64_t rows, columns, k;
  MatmulThen then = MatmulThen::kNothing;  // always, where the kernel does not finish (MatmulTiling)
  std::int64_t bytes_ahead = 0;            // of weights that few rows read (Cpu::bytes_ahead)
};

struct MatmulExtents {
  std::int64_t rows, columns, k;
};

// Whether a kernel serves a product of these extents.
constexpr bool takes_all(const MatmulExtents&) { return true; }
constexpr bool takes_one(const MatmulExtents& product) { return product.rows == 1; }
constexpr bool takes_several(const MatmulExtents& product) { return product.rows > 1; }
// Not one row; and only where OpenBLAS chose kernels that give a row the same bits wherever it stands: those
// for Skylake-X and its successors. Its Haswell and Zen kernels (0.3.21) round a row by its index modulo 12.
bool blas_takes(const MatmulExtents& product);
// OpenBLAS's version with how it was built, and the CPU for which it has chosen kernels.
const char* blas_build();
const char* blas_core();

// How a kernel wants its product cut: the largest tile, a multiple of kGroupElements wide; the bytes of
// workspace for tiles of some extents; whether it finishes, that is, does what `then` says, where otherwise
// the step does it to every tile; and how narrow a step may cut tiles to give every thread something to do.
struct MatmulTiling {
  std::int64_t rows, columns;
  std::size_t (*workspace)(const MatmulExtents&);
  bool finishes;
  std::int64_t fewest_columns = 128;
};

constexpr std::size_t no_workspace(const MatmulExtents&) { return 0; }
inline constexpr MatmulTiling kPlainTiles{144, 128, no_workspace, false};

// Scalar references of block formats: one column, decoded.
constexpr std::size_t column_workspace(const MatmulExtents& e) {
  return static_cast<std::size_t>(e.k) * sizeof(float);
}
inline constexpr MatmulTiling kColumnTiles{144, 128, column_workspace, false};

// Panels: rows of x are copied in blocks of kBlockWords inputs, or pairs of inputs, kBlockStride apart: 17
// cache lines, so that rows do not fall onto the same sets of the cache however x is laid out. The copy and
// the sums of the tile, kSumColumns of them together, stay in the second-level cache.
inline constexpr std::int64_t kBlockWords = 256, kBlockStride = kBlockWords + 16, kSumColumns = 64;
constexpr std::size_t panel_workspace(const MatmulExtents& e) {
  const std::int64_t columns = (e.columns + kSumColumns - 1) / kSumColumns * kSumColumns;
  return static_cast<std::size_t>(e.rows * (kBlockStride + columns)) * sizeof(float);
}
inline constexpr MatmulTiling kPanelTiles{288, 512, panel_workspace, true};

// OpenBLAS: the last rows of x, padded to kBlasRows, and their outputs. OpenBLAS rounds a row as its call's
// number of rows demands; multiples of kBlasRows, and narrow tiles in calls of exactly so many, make it
// always the same: its Skylake-X kernels take 4 rows at a time, and those for small matrices stop at 1200
// outputs.
inline constexpr std::int64_t kBlasRows = 48, kBlasColumns = 64;
constexpr std::size_t blas_workspace(const MatmulExtents& e) {
  return static_cast<std::size_t>(kBlasRows * (e.k + e.columns)) * sizeof(float);
}
inline constexpr MatmulTiling kBlasTiles{144, 128, blas_workspace, false};
static_assert(kBlasTiles.rows % kBlasRows == 0);

// Block panels with vectors: a slab of kSlabColumns columns of codes unpacked kSlabDepth deep, 16 KiB that
// stay in the first-level cache, with their scales; the sums of the tile, and the groups of its rows as deep
// as the slab, rearranged, which stay in the second-level cache. Rows are taken in blocks whose size divides
// kSlabRows.
inline constexpr std::int64_t kSlabColumns = 32, kSlabDepth = 512, kSlabRows = 12;
constexpr std::size_t slab_workspace(const MatmulExtents& e) {
  constexpr std::int64_t kGroups = kSlabDepth / kGroupElements;
  // Beside codes there are at most three numbers of four bytes for each half of a group: a scale (a group
  // then has two) or a scale and a min; d, the start of sums and d times the sum of the codes.
  constexpr std::int64_t kNumbers = kGroups * 2 * 3 * 4;
  const std::int64_t rows = (e.rows + kSlabRows - 1) / kSlabRows * kSlabRows;
  const std::int64_t columns = (e.columns + kSlabColumns - 1) / kSlabColumns * kSlabColumns;
  return static_cast<std::size_t>((kSlabColumns + rows) * (kSlabDepth + kNumbers) + rows * columns * 4);
}
inline constexpr MatmulTiling kSlabTiles{288, 512, slab_workspace, true};

// Matrix tiles: inputs of kAmxDepth of k of all rows of the tile, twice, as bf16; weights of a strip of
// kAmxStripColumns as deep, twice; sums of all outputs, rows and columns padded. For 512 rows and columns
// 1.6 MiB, in the second-level cache. Each tile converts its inputs anew: narrower ones would have the
// vectors do more of that than fits beside the products.
inline constexpr std::int64_t kAmxDepth = 256, kAmxStripColumns = 64;
constexpr std::size_t amx_workspace(const MatmulExtents& e) {
  const std::int64_t rows = (e.rows + 15) / 16 * 16;
  const std::int64_t columns = (e.columns + kAmxStripColumns - 1) / kAmxStripColumns * kAmxStripColumns;
  return static_cast<std::size_t>(2 * (rows + kAmxStripColumns) * kAmxDepth * 2 + rows * columns * 4);
}
inline constexpr MatmulTiling kAmxTiles{528, 512, amx_workspace, true, 256};

#define TESSERA_KERNEL(level, function, format, takes, tiling) void function(const MatmulTile& tile) noexcept;
#include "ops/matmul/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
