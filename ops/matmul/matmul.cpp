#include <algorithm>

#include "ops/gelu/kernels.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/pack.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "ops/quantize_rows/kernels.h"
#include "ops/quantize_rows/quantize_rows.h"
#include "ops/silu_mul/kernels.h"
#include "tensor/cpu.h"

namespace tessera::ops {
namespace {

// Inputs of a step: x, the weights (for kSiluMul gate and up); of a single weight the bias, and for kAdd what
// is added, where there are such.
struct Params {
  std::int32_t weights = 1;
  std::int32_t has_bias = 0;
  MatmulThen then = MatmulThen::kNothing;
  std::int32_t quantized = 0;  // kSiluMul: y as products with block weights read it
};
constexpr int kMaxWeights = kMaxInputs - 1;

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

  // Tiles of two products are half as wide, so that as many threads find work.
  Tiles(std::int64_t total_rows, std::int64_t total_columns, const MatmulTiling& tiling, int products = 1) {
    // Tiles about equally high; no narrower than it takes to give several threads something to do.
    const std::int64_t wanted = count(total_rows, count(total_rows, tiling.rows));
    rows = total_rows <= tiling.rows ? total_rows : count(wanted, kBlasRows) * kBlasRows;
    row_tiles = count(total_rows, rows);
    columns = total_rows == 1 ? kOneRowColumns : std::max(tiling.columns / products, tiling.fewest_columns);
    while (columns > tiling.fewest_columns && row_tiles * count(total_columns, columns) < kWantedTasks)
      columns /= 2;
    column_tiles = count(total_columns, columns);
  }
  std::int64_t tasks() const { return row_tiles * column_tiles; }
  // Neighbours share their columns, so threads meet in the same weights.
  std::int64_t first_row(std::int64_t task) const { return task % row_tiles * rows; }
  std::int64_t first_column(std::int64_t task) const { return task / row_tiles * columns; }

 private:
  static constexpr std::int64_t kOneRowColumns = 64, kWantedTasks = 16;
  static std::int64_t count(std::int64_t total, std::int64_t part) {
    return part > 0 ? (total + part - 1) / part : 0;
  }
};

void check_weight(const TensorDesc& x, const TensorDesc& w) {
  if (!is_weight(w)) {
    reject("w is " + describe(w) + ", expected a matrix of f32, f16 or bf16, or one packed by pack_weight");
  }
  if (has_blocks(w) ? !is_quantized(x, w) : !fits(x, w)) {
    reject("x is " + describe(x) + ", expected dense f32 rows of " + std::to_string(w.shape[1]) + ", for w " +
           describe(w));
  }
}

TensorDesc infer(const OpArgs& args) {
  const TensorDesc& x = args.inputs[0];
  const auto& params = args.get<Params>();
  const bool gated = params.then == MatmulThen::kSiluMul;
  std::int64_t outputs = 0;
  for (const TensorDesc& w : args.inputs.subspan(1, static_cast<std::size_t>(params.weights))) {
    check_weight(x, w);
    outputs = gated ? w.shape[0] : outputs + w.shape[0];
  }
  if (gated && args.inputs[2] != args.inputs[1])
    reject("up is " + describe(args.inputs[2]) + ", gate is " + describe(args.inputs[1]));
  if (params.has_bias && args.inputs[2] != TensorDesc::dense(DType::kF32, {outputs})) {
    reject("bias is " + describe(args.inputs[2]) + ", expected f32[" + std::to_string(outputs) + "]");
  }
  std::array<std::int64_t, kMaxRank> dims{};
  std::copy(x.shape.dims().begin(), x.shape.dims().end(), dims.begin());
  const auto rank = static_cast<std::size_t>(x.shape.rank());
  dims[rank - 1] = outputs;
  const TensorDesc y =
      TensorDesc::dense(DType::kF32, Shape(std::span<const std::int64_t>(dims.data(), rank)));
  if (params.then == MatmulThen::kAdd && args.inputs.back() != y)
    reject("a is " + describe(args.inputs.back()) + ", expected dense " + describe(y));
  return params.quantized ? quantized_rows(y) : y;
}

// What follows a product, at one level.
template <typename Kernel>
struct LevelKernel {
  IsaLevel level;
  Kernel kernel;
};
constexpr LevelKernel<decltype(&silu_mul_ref)> kSiluMuls[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, function},
#include "ops/silu_mul/kernels.inc"
#undef TESSERA_KERNEL
};
constexpr LevelKernel<decltype(&quantize_rows_ref)> kQuantizers[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, function},
#include "ops/quantize_rows/kernels.inc"
#undef TESSERA_KERNEL
};

template <typename Kernel, std::size_t kCount>
consteval Kernel at(const LevelKernel<Kernel> (&rows)[kCount], IsaLevel level) {
  return std::find_if(rows, rows + kCount, [&](const auto& row) { return row.level == level; })->kernel;
}

struct AfterKernels {
  IsaLevel level;
  decltype(&gelu_ref) gelu;
  decltype(&silu_mul_ref) silu_mul;
  decltype(&quantize_rows_ref) quantize;
};
constexpr AfterKernels kAfter[] = {
#define TESSERA_KERNEL(level, function) \
  {IsaLevel::level, function, at(kSiluMuls, IsaLevel::level), at(kQuantizers, IsaLevel::level)},
#include "ops/gelu/kernels.inc"
#undef TESSERA_KERNEL
};
static_assert(std::size(kAfter) == std::size(kSiluMuls) && std::size(kAfter) == std::size(kQuantizers));

const AfterKernels& after(const KernelArgs& args) { return *static_cast<const AfterKernels*>(args.chosen); }

// What the kernel has left to do.
void finish(const MatmulTile& t, const AfterKernels& kernels) {
  for (std::int64_t m = 0; m < t.rows; ++m) {
    float* y = t.y + m * t.y_stride;
    if (t.then == MatmulThen::kAdd) {
      const float* add = t.other + m * t.y_stride;
      for (std::int64_t n = 0; n < t.columns; ++n) y[n] = add[n] + y[n];
    } else {
      kernels.gelu({y, y, t.columns, t.then == MatmulThen::kGeluErf});
    }
  }
}

// Bytes from the beginning of a weight to what a tile that starts at `column` reads.
std::int64_t column_offset(const TensorView& w, std::int64_t column) {
  return column / (w.layout ? kPanelColumns : 1) * weight_stride(w);
}

// The tile of a task, without its outputs.
MatmulTile tile_of(const KernelArgs& args, const TensorView& w, const Tiles& tiles, std::int64_t task) {
  const TensorView& x = args.inputs[0];
  const std::int64_t row = tiles.first_row(task), column = tiles.first_column(task), k = w.shape[1];
  return {.x = x.as<std::uint32_t>() + row * x.shape.back(),
          .w = w.data + column_offset(w, column),
          .bias = nullptr,
          .y = nullptr,
          .workspace = args.workspace,
          .x_stride = has_blocks(w) ? k / kGroupElements : k,
          .y_stride = 0,
          .w_stride = weight_stride(w),
          .rows = std::min(tiles.rows, x.shape.rows() - row),
          .columns = std::min(tiles.columns, w.shape[0] - column),
          .k = k,
          .bytes_ahead = args.bytes_ahead};
}

template <auto kernel, const MatmulTiling& tiling>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& y = args.output;
  const auto& params = args.get<Params>();
  const float* add = nullptr;
  if (params.then == MatmulThen::kAdd) add = args.inputs[params.has_bias ? 3 : 2].as<float>();
  std::int64_t first_task = 0, first_column = 0;
  for (const TensorView& w : std::span(args.inputs + 1, static_cast<std::size_t>(params.weights))) {
    const Tiles tiles(args.inputs[0].shape.rows(), w.shape[0], tiling);
    const std::int64_t last = std::min(end - first_task, tiles.tasks());
    for (std::int64_t task = std::max<std::int64_t>(begin - first_task, 0); task < last; ++task) {
      const std::int64_t column = tiles.first_column(task);
      const std::int64_t first_output = tiles.first_row(task) * y.shape.back() + first_column + column;
      MatmulTile tile = tile_of(args, w, tiles, task);
      if (params.has_bias) tile.bias = args.inputs[2].as<float>() + column;
      if (add) tile.other = add + first_output;
      tile.y = y.as<float>() + first_output;
      tile.y_stride = y.shape.back();
      if (tiling.finishes) tile.then = params.then;
      kernel(tile);
      if (tile.then == params.then) continue;
      tile.then = params.then;
      finish(tile, after(args));
    }
    first_task += tiles.tasks();
    first_column += w.shape[0];
  }
}

Tiles gated_tiles(std::int64_t rows, const TensorDesc& gate, const MatmulTiling& tiling) {
  return {rows, gate.shape[0], tiling, /*products=*/2};
}

// kSiluMul: floats that a tile needs before the kernel's workspace, for y before it is quantized and, where
// the kernel does not finish, for the second product.
std::int64_t gated_floats(const Tiles& tiles, const MatmulTiling& tiling, bool quantized) {
  return tiles.rows * tiles.columns * ((quantized ? 1 : 0) + (tiling.finishes ? 0 : 1));
}

// kSiluMul: tile by tile the gate, then up and SiLU in its place, then the codes.
template <auto kernel, const MatmulTiling& tiling>
void run_gated(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  static_assert(tiling.columns % kGroupElements == 0 && tiling.fewest_columns % kGroupElements == 0);
  const TensorView &gate = args.inputs[1], &up = args.inputs[2], &y = args.output;
  const bool quantized = args.get<Params>().quantized;
  const Tiles tiles = gated_tiles(args.inputs[0].shape.rows(), gate, tiling);
  const std::int64_t row_groups = gate.shape[0] / kGroupElements;
  auto* const floats = reinterpret_cast<float*>(args.workspace);
  float* const second = quantized ? floats + tiles.rows * tiles.columns : floats;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t row = tiles.first_row(task), column = tiles.first_column(task);
    MatmulTile tile = tile_of(args, gate, tiles, task);
    const std::int64_t stride = quantized ? tile.columns : y.shape.back();
    float* const product = quantized ? floats : y.as<float>() + row * stride + column;
    tile.workspace = floats + gated_floats(tiles, tiling, quantized);
    tile.y = product;
    tile.y_stride = stride;
    kernel(tile);
    tile.w = up.data + column_offset(up, column);
    if constexpr (tiling.finishes) {
      tile.other = product;
      tile.then = MatmulThen::kSiluMul;
    } else {
      tile.y = second;
      tile.y_stride = tile.columns;
    }
    kernel(tile);
    for (std::int64_t m = 0; m < tile.rows; ++m) {
      float* const values = product + m * stride;
      if constexpr (!tiling.finishes)
        after(args).silu_mul({values, second + m * tile.columns, values, tile.columns});
      if (!quantized) continue;
      ActivationGroup* const groups =
          y.as<ActivationGroup>() + (row + m) * row_groups + column / kGroupElements;
      after(args).quantize(values, groups, tile.columns / kGroupElements);
    }
  }
}

template <const MatmulTiling& tiling>
Stretch stretch(const KernelArgs& args, std::int64_t task) noexcept {
  std::size_t input = 1;
  for (;; ++input) {
    const TensorView& w = args.inputs[input];
    const Tiles tiles(args.inputs[0].shape.rows(), w.shape[0], tiling);
    if (task >= tiles.tasks()) {
      task -= tiles.tasks();
      continue;
    }
    const std::int64_t offset = column_offset(w, tiles.first_column(task));
    return {input, offset, weight_bytes(w) - offset};
  }
}

struct MatmulKernel {
  IsaLevel level;
  WeightFormat format;
  bool (*takes)(const MatmulExtents&);
  const MatmulTiling& tiling;
  const char* name;
  KernelFn run, run_gated;
  StretchFn stretch;
};

constexpr MatmulKernel kKernels[] = {
#define TESSERA_KERNEL(level, function, format, takes, tiling)                                            \
  {IsaLevel::level, format, takes, tiling, #function, run<function, tiling>, run_gated<function, tiling>, \
   stretch<tiling>},
#include "ops/matmul/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const auto& params = args.get<Params>();
  const auto weights = args.inputs.subspan(1, static_cast<std::size_t>(params.weights));
  const bool gated = params.then == MatmulThen::kSiluMul;
  const MatmulExtents product{args.inputs[0].shape.rows(), weights[0].shape[0], weights[0].shape[1]};
  const MatmulKernel& kernel = *std::find_if(std::begin(kKernels), std::end(kKernels), [&](const auto& row) {
    return cpu.has(row.level) && row.format == format_of(weights[0]) && row.takes(product);
  });
  const auto after_kernels = std::find_if(std::begin(kAfter), std::end(kAfter),
                                          [&](const AfterKernels& row) { return cpu.has(row.level); });
  OpPlan plan{.run = gated ? kernel.run_gated : kernel.run,
              .kernel = kernel.name,
              .chosen = &*after_kernels,
              .bytes_ahead = cpu.bytes_ahead(),
              .tasks = 0};
  // More rows need the caches for themselves (bench/RESULTS.md).
  if (product.rows == 1) plan.stretch = kernel.stretch;
  for (const TensorDesc& w : weights.first(gated ? 1 : weights.size())) {
    const Tiles tiles =
        gated ? gated_tiles(product.rows, w, kernel.tiling) : Tiles(product.rows, w.shape[0], kernel.tiling);
    plan.tasks += tiles.tasks();
    const std::int64_t floats = gated ? gated_floats(tiles, kernel.tiling, params.quantized) : 0;
    plan.workspace_bytes =
        std::max(plan.workspace_bytes, kernel.tiling.workspace({tiles.rows, tiles.columns, product.k}) +
                                           static_cast<std::size_t>(floats) * sizeof(float));
  }
  return plan;
}

OpCost cost(const OpArgs& args) {
  const auto rows = static_cast<double>(args.inputs[0].shape.rows());
  const auto elements = [](const TensorDesc& desc) { return static_cast<double>(desc.shape.elements()); };
  OpCost cost{.bytes = 4 * (elements(args.output) + elements(args.inputs[0]))};
  const auto& params = args.get<Params>();
  for (const TensorDesc& w : args.inputs.subspan(1, static_cast<std::size_t>(params.weights))) {
    cost.bytes += static_cast<double>(weight_bytes(w));
    cost.flops += 2 * rows * elements(w);
  }
  if (params.then == MatmulThen::kGeluTanh || params.then == MatmulThen::kGeluErf)
    cost.flops += 25 * elements(args.output);
  if (params.then == MatmulThen::kAdd) cost.bytes += 4 * elements(args.output);
  if (params.then == MatmulThen::kSiluMul) {
    const double values = rows * static_cast<double>(args.inputs[1].shape[0]);
    cost.flops += (params.quantized ? 20 + 4 : 20) * values;  // silu_mul, quantize_rows
  }
  return cost;
}

constexpr OpDef kMatmul{"matmul", infer, plan, cost};

const TensorDesc& desc_of(const Graph& g, const Operand& x) {
  return x.view() ? *x.view() : g.desc(x.tensor());
}

// x in the form that kernels for w read. What does not fit stays, for infer to say so.
Tensor input(Graph& g, const Operand& x, const Operand& w) {
  const TensorDesc weight = desc_of(g, w);
  const Tensor value = x.view() ? g.constant(*x.view()) : x.tensor();
  const bool quantize = is_weight(weight) && has_blocks(weight) && fits(g.desc(value), weight);
  return quantize ? quantize_rows(g, value) : value;
}

}  // namespace

Tensor matmul(Graph& g, const Operand& x, const Operand& w) {
  return g.append(kMatmul, {input(g, x, w), w}, Params{});
}

Tensor matmul(Graph& g, const Operand& x, const Operand& w, const Operand& bias) {
  return g.append(kMatmul, {input(g, x, w), w, bias}, Params{.has_bias = 1});
}

Tensor matmul(Graph& g, const Operand& x, const Operand& w, const Operand& bias, Gelu kind) {
  const MatmulThen then = kind == Gelu::kErf ? MatmulThen::kGeluErf : MatmulThen::kGeluTanh;
  return g.append(kMatmul, {input(g, x, w), w, bias}, Params{.has_bias = 1, .then = then});
}

Tensor matmul_add(Graph& g, const Operand& a, const Operand& x, const Operand& w) {
  return g.append(kMatmul, {input(g, x, w), w, a}, Params{.then = MatmulThen::kAdd});
}

Tensor matmul_add(Graph& g, const Operand& a, const Operand& x, const Operand& w, const Operand& bias) {
  return g.append(kMatmul, {input(g, x, w), w, bias, a}, Params{.has_bias = 1, .then = MatmulThen::kAdd});
}

Tensor matmul_silu_mul(Graph& g, const Operand& x, const Operand& gate, const Operand& up,
                       const Operand& next) {
  const TensorDesc &first = desc_of(g, gate), &reader = desc_of(g, next);
  // One row takes as long as reading the weights, which is fastest in long streams of one after the other.
  if (desc_of(g, x).shape.rows() == 1 || format_of(first) != format_of(desc_of(g, up))) {
    const std::vector<Tensor> products = matmul_each(g, x, {gate, up});
    return silu_mul(g, products[0], products[1]);
  }
  const bool quantized = is_weight(reader) && has_blocks(reader) && reader.shape[1] == first.shape[0];
  return g.append(kMatmul, {input(g, x, gate), gate, up},
                  Params{.weights = 2, .then = MatmulThen::kSiluMul, .quantized = quantized});
}

std::vector<Tensor> matmul_each(Graph& g, const Operand& x, std::initializer_list<Operand> weights) {
  const Tensor value = x.view() ? g.constant(*x.view()) : x.tensor();
  std::vector<Tensor> products;
  while (products.size() < weights.size()) {
    const std::span rest = std::span(weights.begin(), weights.size()).subspan(products.size());
    const WeightFormat format = format_of(desc_of(g, rest[0]));
    std::vector<Operand> inputs{input(g, value, rest[0])};
    while (inputs.size() <= std::min<std::size_t>(rest.size(), kMaxWeights) &&
           format_of(desc_of(g, rest[inputs.size() - 1])) == format) {
      inputs.push_back(rest[inputs.size() - 1]);
    }
    const auto count = static_cast<std::int32_t>(inputs.size() - 1);
    const Tensor all = g.append(kMatmul, inputs, Params{.weights = count});
    std::int64_t column = 0;
    for (const Operand& w : rest.first(static_cast<std::size_t>(count))) {
      const std::int64_t end = column + desc_of(g, w).shape[0];
      products.push_back(count == 1 ? all : slice(g, all, g.shape(all).rank() - 1, column, end));
      column = end;
    }
  }
  return products;
}

}  // namespace tessera::ops
