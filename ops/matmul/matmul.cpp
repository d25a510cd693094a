#include <algorithm>

#include "ops/matmul/kernels.h"
#include "ops/matmul/pack.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "ops/quantize_rows/quantize_rows.h"
#include "tensor/cpu.h"

namespace tessera::ops {
namespace {

struct Params {
  std::int32_t has_bias;
};

// What kernels.inc calls a format.
struct WeightFormat {
  DType dtype;
  WeightLayout layout;
  friend bool operator==(const WeightFormat&, const WeightFormat&) = default;
};
constexpr WeightFormat kF32Rows{DType::kF32, WeightLayout::kRows};
constexpr WeightFormat kF16Rows{DType::kF16, WeightLayout::kRows};
constexpr WeightFormat kBf16Rows{DType::kBF16, WeightLayout::kRows};
constexpr WeightFormat kF16Panels{DType::kF16, WeightLayout::kF16Panels};
constexpr WeightFormat kBf16Panels{DType::kBF16, WeightLayout::kBf16Panels};
constexpr WeightFormat kQ8_0{DType::kQ8_0, WeightLayout::kBlockPanels};
constexpr WeightFormat kQ4_0{DType::kQ4_0, WeightLayout::kBlockPanels};
constexpr WeightFormat kQ4_1{DType::kQ4_1, WeightLayout::kBlockPanels};
constexpr WeightFormat kQ5_0{DType::kQ5_0, WeightLayout::kBlockPanels};
constexpr WeightFormat kQ5_1{DType::kQ5_1, WeightLayout::kBlockPanels};
constexpr WeightFormat kQ4_K{DType::kQ4_K, WeightLayout::kBlockPanels};
constexpr WeightFormat kQ5_K{DType::kQ5_K, WeightLayout::kBlockPanels};
constexpr WeightFormat kQ6_K{DType::kQ6_K, WeightLayout::kBlockPanels};

WeightFormat format_of(const TensorDesc& w) { return {w.dtype, static_cast<WeightLayout>(w.layout)}; }

bool has_blocks(const TensorDesc& w) { return format_of(w).layout == WeightLayout::kBlockPanels; }

// Whether x has rows of the floats, or of the groups, that w needs.
bool fits(const TensorDesc& x, const TensorDesc& w) {
  return x.dtype == DType::kF32 && x.shape.rank() >= 1 && x.is_dense() && x.shape.back() == w.shape[1];
}
bool is_quantized(const TensorDesc& x, const TensorDesc& w) {
  return x.dtype == DType::kI32 && x.shape.rank() >= 1 && x.is_dense() &&
         x.shape.back() == w.shape[1] / kGroupElements * kGroupDwords;
}

// How outputs are cut into tasks; it follows from the shapes and the kernel alone.
struct Tiles {
  std::int64_t rows, columns;  // of one tile; the last ones may be smaller
  std::int64_t row_tiles, column_tiles;

  Tiles(std::int64_t total_rows, std::int64_t total_columns, const MatmulTiling& tiling) {
    // Tiles about equally high; no narrower than it takes to give several threads something to do.
    const std::int64_t wanted = count(total_rows, count(total_rows, tiling.rows));
    rows = total_rows <= tiling.rows ? total_rows : count(wanted, kBlasRows) * kBlasRows;
    row_tiles = count(total_rows, rows);
    columns = total_rows == 1 ? kOneRowColumns : tiling.columns;
    while (columns > kFewestColumns && row_tiles * count(total_columns, columns) < kWantedTasks) columns /= 2;
    column_tiles = count(total_columns, columns);
  }
  std::int64_t tasks() const { return row_tiles * column_tiles; }

 private:
  static constexpr std::int64_t kOneRowColumns = 64, kFewestColumns = 128, kWantedTasks = 16;
  static std::int64_t count(std::int64_t total, std::int64_t part) {
    return part > 0 ? (total + part - 1) / part : 0;
  }
};

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &w = args.inputs[1];
  if (!is_weight(w)) {
    reject("w is " + describe(w) + ", expected a matrix of f32, f16 or bf16, or one packed by pack_weight");
  }
  if (has_blocks(w) ? !is_quantized(x, w) : !fits(x, w)) {
    reject("x is " + describe(x) + ", expected dense f32 rows of " + std::to_string(w.shape[1]) + ", for w " +
           describe(w));
  }
  if (args.get<Params>().has_bias && args.inputs[2] != TensorDesc::dense(DType::kF32, {w.shape[0]})) {
    reject("bias is " + describe(args.inputs[2]) + ", expected f32[" + std::to_string(w.shape[0]) + "]");
  }
  std::array<std::int64_t, kMaxRank> dims{};
  std::copy(x.shape.dims().begin(), x.shape.dims().end(), dims.begin());
  const auto rank = static_cast<std::size_t>(x.shape.rank());
  dims[rank - 1] = w.shape[0];
  return TensorDesc::dense(DType::kF32, Shape(std::span<const std::int64_t>(dims.data(), rank)));
}

template <auto kernel, const MatmulTiling& tiling>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &x = args.inputs[0], &w = args.inputs[1], &y = args.output;
  const float* bias = args.get<Params>().has_bias ? args.inputs[2].as<float>() : nullptr;
  const std::int64_t rows = x.shape.rows(), n = w.shape[0], k = w.shape[1], w_stride = weight_stride(w);
  const std::int64_t w_rows = w.layout ? kPanelColumns : 1;
  const std::int64_t x_stride = has_blocks(w) ? k / kGroupElements : k;
  const Tiles tiles(rows, n, tiling);
  for (std::int64_t task = begin; task < end; ++task) {
    // Neighbours share their columns, so threads meet in the same weights.
    const std::int64_t row = task % tiles.row_tiles * tiles.rows;
    const std::int64_t column = task / tiles.row_tiles * tiles.columns;
    kernel({.x = x.as<std::uint32_t>() + row * x.shape.back(),
            .w = w.data + column / w_rows * w_stride,
            .bias = bias ? bias + column : nullptr,
            .y = y.as<float>() + row * n + column,
            .workspace = args.workspace,
            .x_stride = x_stride,
            .y_stride = n,
            .w_stride = w_stride,
            .rows = std::min(tiles.rows, rows - row),
            .columns = std::min(tiles.columns, n - column),
            .k = k});
  }
}

struct MatmulKernel {
  IsaLevel level;
  WeightFormat format;
  bool (*takes)(const MatmulExtents&);
  const MatmulTiling& tiling;
  const char* name;
  KernelFn run;
};

constexpr MatmulKernel kKernels[] = {
#define TESSERA_KERNEL(level, function, format, takes, tiling) \
  {IsaLevel::level, format, takes, tiling, #function, run<function, tiling>},
#include "ops/matmul/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const TensorDesc& w = args.inputs[1];
  const MatmulExtents product{args.inputs[0].shape.rows(), w.shape[0], w.shape[1]};
  const MatmulKernel& kernel = *std::find_if(std::begin(kKernels), std::end(kKernels), [&](const auto& row) {
    return cpu.has(row.level) && row.format == format_of(w) && row.takes(product);
  });
  const Tiles tiles(product.rows, product.columns, kernel.tiling);
  return {.run = kernel.run,
          .kernel = kernel.name,
          .tasks = tiles.tasks(),
          .workspace_bytes = kernel.tiling.workspace({tiles.rows, tiles.columns, product.k})};
}

OpCost cost(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &w = args.inputs[1];
  const auto rows = static_cast<double>(x.shape.rows());
  const auto n = static_cast<double>(w.shape[0]), k = static_cast<double>(w.shape[1]);
  return {
      .bytes = static_cast<double>(weight_bytes(w)) + 4 * rows * (n + static_cast<double>(x.shape.back())),
      .flops = 2 * rows * n * k};
}

constexpr OpDef kMatmul{"matmul", infer, plan, cost};

// x in the form that kernels for w read. What does not fit stays, for infer to say so.
Tensor input(Graph& g, const Operand& x, const Operand& w) {
  const TensorDesc weight = w.view() ? *w.view() : g.desc(w.tensor());
  const Tensor value = x.view() ? g.constant(*x.view()) : x.tensor();
  const bool quantize = is_weight(weight) && has_blocks(weight) && fits(g.desc(value), weight);
  return quantize ? quantize_rows(g, value) : value;
}

}  // namespace

Tensor matmul(Graph& g, const Operand& x, const Operand& w) {
  return g.append(kMatmul, {input(g, x, w), w}, Params{0});
}

Tensor matmul(Graph& g, const Operand& x, const Operand& w, const Operand& bias) {
  return g.append(kMatmul, {input(g, x, w), w, bias}, Params{1});
}

}  // namespace tessera::ops
