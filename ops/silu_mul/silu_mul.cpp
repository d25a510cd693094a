#include "ops/kernel_row.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "ops/silu_mul/kernels.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &gate = args.inputs[0], &up = args.inputs[1];
  if (gate.dtype != DType::kF32 || gate.shape.rank() < 1) {
    reject("gate is " + describe(gate) + ", expected f32 rows");
  }
  if (up.dtype != DType::kF32 || up.shape != gate.shape) {
    reject("up is " + describe(up) + ", gate is " + describe(gate));
  }
  return TensorDesc::dense(DType::kF32, gate.shape);
}

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &gate = args.inputs[0], &up = args.inputs[1], &y = args.output;
  const std::int64_t columns = y.shape.back();
  if (gate.is_dense() && up.is_dense()) {
    const std::int64_t at = begin * columns;
    kernel({gate.as<float>() + at, up.as<float>() + at, y.as<float>() + at, (end - begin) * columns});
    return;
  }
  for (std::int64_t r = begin; r < end; ++r) {
    kernel({RowRuns(gate, r, r + 1).data<float>(), RowRuns(up, r, r + 1).data<float>(),
            y.as<float>() + r * columns, columns});
  }
}

constexpr KernelRow kRows[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, #function, run<function>},
#include "ops/silu_mul/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const KernelRow& row = select(kRows, cpu);
  return {.run = row.run, .kernel = row.name, .tasks = args.output.shape.rows(), .in_place_inputs = 3};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 12 * n, .flops = 20 * n};
}

constexpr OpDef kSiluMul{"silu_mul", infer, plan, cost};

}  // namespace

Tensor silu_mul(Graph& g, const Operand& gate, const Operand& up) { return g.append(kSiluMul, {gate, up}); }

}  // namespace tessera::ops
