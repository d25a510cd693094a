#include <cmath>
#include <limits>

#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc& x = args.inputs[0];
  if (x.dtype != DType::kF32 || x.shape.rank() < 1) reject("x is " + describe(x) + ", expected f32 rows");
  return TensorDesc::dense(DType::kF32, x.shape);
}

void softmax_row(const float* x, float* y, std::int64_t columns) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float largest = -kInfinity;
  for (std::int64_t i = 0; i < columns; ++i) {
    if (x[i] > largest) largest = x[i];
  }
  // Nothing above -inf: e^-inf is 0 for each, and a NaN among them still makes the sum NaN.
  if (largest == -kInfinity) largest = 0;
  double sum = 0;
  for (std::int64_t i = 0; i < columns; ++i) {
    y[i] = std::exp(x[i] - largest);
    sum += double{y[i]};
  }
  const auto factor = static_cast<float>(sum == 0 ? 0 : 1 / sum);
  for (std::int64_t i = 0; i < columns; ++i) y[i] *= factor;
}

void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const std::int64_t columns = args.output.shape.back();
  for (RowRuns rows(args.inputs[0], begin, end); !rows.done(); rows.next()) {
    for (std::int64_t r = 0; r < rows.count(); ++r) {
      softmax_row(rows.data<float>() + r * rows.stride<float>(),
                  args.output.as<float>() + (rows.index() + r) * columns, columns);
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  return {.run = run, .kernel = "softmax", .tasks = args.output.shape.rows(), .in_place_inputs = 1};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 8 * n, .flops = 4 * n};
}

constexpr OpDef kSoftmax{"softmax", infer, plan, cost};

}  // namespace

Tensor softmax(Graph& g, const Operand& x) { return g.append(kSoftmax, {x}); }

}  // namespace tessera::ops
