#include "ops/kernel_row.h"
#include "ops/layer_norm/kernels.h"
#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

struct Params {
  float eps;
};

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &weight = args.inputs[1], &bias = args.inputs[2];
  if (x.dtype != DType::kF32 || x.shape.rank() < 1) reject("x is " + describe(x) + ", expected f32 rows");
  const TensorDesc row = TensorDesc::dense(DType::kF32, {x.shape.back()});
  if (weight != row) reject("weight is " + describe(weight) + ", rows of x are " + describe(x));
  if (bias != row) reject("bias is " + describe(bias) + ", rows of x are " + describe(x));
  return TensorDesc::dense(DType::kF32, x.shape);
}

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &x = args.inputs[0], &y = args.output;
  const std::int64_t columns = x.shape.back();
  for (RowRuns rows(x, begin, end); !rows.done(); rows.next()) {
    kernel({rows.data<float>(), args.inputs[1].as<float>(), args.inputs[2].as<float>(),
            y.as<float>() + rows.index() * columns, rows.stride<float>(), columns, columns,
            args.get<Params>().eps},
           rows.count());
  }
}

constexpr KernelRow kRows[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, #function, run<function>},
#include "ops/layer_norm/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const KernelRow& row = select(kRows, cpu);
  return {.run = row.run, .kernel = row.name, .tasks = args.output.shape.rows(), .in_place_inputs = 1};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 8 * n, .flops = 8 * n};
}

constexpr OpDef kLayerNorm{"layer_norm", infer, plan, cost};

}  // namespace

Tensor layer_norm(Graph& g, const Operand& x, const Operand& weight, const Operand& bias,
                  const LayerNormOptions& options) {
  return g.append(kLayerNorm, {x, weight, bias}, Params{options.eps});
}

}  // namespace tessera::ops
