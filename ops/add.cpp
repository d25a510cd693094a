#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &a = args.inputs[0], &b = args.inputs[1];
  if (a.dtype != DType::kF32 || a.shape.rank() < 1) reject("a is " + describe(a) + ", expected f32 rows");
  if (b.dtype != DType::kF32 || b.shape != a.shape) reject("b is " + describe(b) + ", a is " + describe(a));
  return TensorDesc::dense(DType::kF32, a.shape);
}

void sum(const float* a, const float* b, float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &a = args.inputs[0], &b = args.inputs[1], &y = args.output;
  const std::int64_t columns = y.shape.back();
  if (a.is_dense() && b.is_dense()) {
    const std::int64_t at = begin * columns;
    sum(a.as<float>() + at, b.as<float>() + at, y.as<float>() + at, (end - begin) * columns);
    return;
  }
  for (std::int64_t r = begin; r < end; ++r) {
    sum(RowRuns(a, r, r + 1).data<float>(), RowRuns(b, r, r + 1).data<float>(), y.as<float>() + r * columns,
        columns);
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  return {.run = run, .kernel = "add", .tasks = args.output.shape.rows(), .in_place_inputs = 3};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 12 * n, .flops = n};
}

constexpr OpDef kAdd{"add", infer, plan, cost};

}  // namespace

Tensor add(Graph& g, const Operand& a, const Operand& b) { return g.append(kAdd, {a, b}); }

}  // namespace tessera::ops
