#include <algorithm>

#include "ops/matmul/kernels.h"
#include "ops/matmul/pack.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "tensor/cpu.h"

namespace tessera::ops {
namespace {

struct Params {
  std::int32_t has_bias;
};

enum class WeightFormat { kF32Rows, kF16Rows, kBf16Rows, kF16Panels, kBf16Panels };

WeightFormat format_of(const TensorDesc& w) {
  const bool rows = static_cast<WeightLayout>(w.layout) == WeightLayout::kRows;
  if (w.dtype == DType::kF16) return rows ? WeightFormat::kF16Rows : WeightFormat::kF16Panels;
  if (w.dtype == DType::kBF16) return rows ? WeightFormat::kBf16Rows : WeightFormat::kBf16Panels;
  return WeightFormat::kF32Rows;
}

// How outputs are cut into tasks; it follows from the shapes alone.
struct Tiles {
  std::int64_t rows, columns;  // of one tile; the last ones may be smaller
  std::int64_t row_tiles, column_tiles;

  Tiles(std::int64_t total_rows, std::int64_t total_columns) {
    // Tiles about equally high.
    const std::int64_t wanted = count(total_rows, count(total_rows, kTileRows));
    rows = total_rows <= kTileRows ? total_rows : count(wanted, kBlasRows) * kBlasRows;
    columns = total_rows == 1 ? kTileColumns / 2 : kTileColumns;
    row_tiles = count(total_rows, rows);
    column_tiles = count(total_columns, columns);
  }
  std::int64_t tasks() const { return row_tiles * column_tiles; }

 private:
  static std::int64_t count(std::int64_t total, std::int64_t part) {
    return part > 0 ? (total + part - 1) / part : 0;
  }
};

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &w = args.inputs[1];
  if (!is_weight(w)) {
    reject("w is " + describe(w) + ", expected a matrix of f32, f16 or bf16, as in a file or packed");
  }
  if (x.dtype != DType::kF32 || x.shape.rank() < 1 || !x.is_dense() || x.shape.back() != w.shape[1]) {
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

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &x = args.inputs[0], &w = args.inputs[1], &y = args.output;
  const float* bias = args.get<Params>().has_bias ? args.inputs[2].as<float>() : nullptr;
  const std::int64_t rows = x.shape.rows(), n = w.shape[0], k = w.shape[1], w_stride = weight_stride(w);
  const std::int64_t w_rows = w.layout ? kPanelColumns : 1;
  const Tiles tiles(rows, n);
  for (std::int64_t task = begin; task < end; ++task) {
    // Neighbours share their columns, so threads meet in the same weights.
    const std::int64_t row = task % tiles.row_tiles * tiles.rows;
    const std::int64_t column = task / tiles.row_tiles * tiles.columns;
    kernel({.x = x.as<float>() + row * k,
            .w = w.data + column / w_rows * w_stride,
            .bias = bias ? bias + column : nullptr,
            .y = y.as<float>() + row * n + column,
            .workspace = args.workspace,
            .x_stride = k,
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
  std::int64_t min_rows;
  std::size_t (*workspace)(const MatmulExtents&);
  const char* name;
  KernelFn run;
};

constexpr MatmulKernel kKernels[] = {
#define TESSERA_KERNEL(level, function, format, min_rows, workspace) \
  {IsaLevel::level, WeightFormat::format, min_rows, workspace, #function, run<function>},
#include "ops/matmul/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const TensorDesc& w = args.inputs[1];
  const std::int64_t rows = args.inputs[0].shape.rows();
  const MatmulKernel& kernel = *std::find_if(std::begin(kKernels), std::end(kKernels), [&](const auto& row) {
    return cpu.has(row.level) && row.format == format_of(w) &&
           row.min_rows <= std::max<std::int64_t>(rows, 1);
  });
  const Tiles tiles(rows, w.shape[0]);
  return {.run = kernel.run,
          .kernel = kernel.name,
          .tasks = tiles.tasks(),
          .workspace_bytes = kernel.workspace({tiles.rows, tiles.columns, w.shape[1]})};
}

OpCost cost(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &w = args.inputs[1];
  const auto rows = static_cast<double>(x.shape.rows());
  const auto n = static_cast<double>(w.shape[0]), k = static_cast<double>(w.shape[1]);
  return {.bytes = static_cast<double>(weight_bytes(w)) + 4 * rows * (n + k), .flops = 2 * rows * n * k};
}

constexpr OpDef kMatmul{"matmul", infer, plan, cost};

}  // namespace

Tensor matmul(Graph& g, const Operand& x, const Operand& w) { return g.append(kMatmul, {x, w}, Params{0}); }

Tensor matmul(Graph& g, const Operand& x, const Operand& w, const Operand& bias) {
  return g.append(kMatmul, {x, w, bias}, Params{1});
}

}  // namespace tessera::ops
