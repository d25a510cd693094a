#include <cstring>

#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

// Floats of one row that a task owns. A task does its columns of every row, so rows that share an index are
// taken in order and no two tasks meet.
constexpr std::int64_t kColumns = 256;

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &rows = args.inputs[1], &index = args.inputs[2];
  if (x.dtype != DType::kF32 || x.shape.rank() != 2) reject("x is " + describe(x) + ", expected f32[T, D]");
  if (rows.dtype != DType::kF32 || rows.shape.rank() != 2 || rows.shape.back() != x.shape.back()) {
    reject("rows is " + describe(rows) + ", x is " + describe(x));
  }
  if (index != TensorDesc::dense(DType::kI32, {rows.shape[0]})) {
    reject("index is " + describe(index) + ", rows is " + describe(rows));
  }
  return TensorDesc::dense(DType::kF32, x.shape);
}

template <typename Combine>
void scatter(const KernelArgs& args, std::int64_t begin, std::int64_t end, Combine combine) {
  const TensorView &x = args.inputs[0], &rows = args.inputs[1], &y = args.output;
  const std::int32_t* index = args.inputs[2].as<std::int32_t>();
  const std::int64_t first = begin * kColumns, n = std::min(end * kColumns, y.shape[1]) - first;
  auto row = [first](const TensorView& of, std::int64_t r) {
    return reinterpret_cast<float*>(of.data + r * of.strides[0]) + first;
  };
  if (x.data != y.data) {
    for (std::int64_t r = 0; r < y.shape[0]; ++r) {
      std::memcpy(row(y, r), row(x, r), static_cast<std::size_t>(n) * sizeof(float));
    }
  }
  for (std::int64_t i = 0; i < rows.shape[0]; ++i) {
    if (index[i] >= 0 && index[i] < y.shape[0]) combine(row(y, index[i]), row(rows, i), n);
  }
}

void run_set(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  scatter(args, begin, end, [](float* to, const float* from, std::int64_t n) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
  });
}

void run_add(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  scatter(args, begin, end, [](float* to, const float* from, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
  });
}

template <KernelFn run>
OpPlan plan(const OpArgs& args, const Cpu&) {
  return {.run = run,
          .kernel = run == run_set ? "scatter_rows" : "scatter_add_rows",
          .tasks = (args.output.shape[1] + kColumns - 1) / kColumns,
          .in_place_inputs = 1};
}

OpCost cost(const OpArgs& args) {
  return {.bytes = 8 * static_cast<double>(args.output.shape.elements() + args.inputs[1].shape.elements())};
}

constexpr OpDef kScatterRows{"scatter_rows", infer, plan<run_set>, cost};
constexpr OpDef kScatterAddRows{"scatter_add_rows", infer, plan<run_add>, cost};

}  // namespace

Tensor scatter_rows(Graph& g, const Operand& x, const Operand& rows, const Operand& index) {
  return g.append(kScatterRows, {x, rows, index});
}

Tensor scatter_add_rows(Graph& g, const Operand& x, const Operand& rows, const Operand& index) {
  return g.append(kScatterAddRows, {x, rows, index});
}

}  // namespace tessera::ops
