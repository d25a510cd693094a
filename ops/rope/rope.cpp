#include "ops/kernel_row.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "ops/rope/kernels.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &table = args.inputs[1];
  if (x.dtype != DType::kF32 || x.shape.rank() != 3 || x.shape[2] % 2 != 0) {
    reject("x is " + describe(x) + ", expected f32[T, H, d] with even d");
  }
  if (table != TensorDesc::dense(DType::kF32, {x.shape[0], x.shape[2] / 2, 2})) {
    reject("table is " + describe(table) + ", x is " + describe(x));
  }
  return TensorDesc::dense(DType::kF32, x.shape);
}

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &x = args.inputs[0], &table = args.inputs[1], &y = args.output;
  const std::int64_t heads = x.shape[1], dim = x.shape[2];
  for (std::int64_t t = begin; t < end; ++t) {
    kernel({reinterpret_cast<const float*>(x.data + t * x.strides[0]), table.as<float>() + t * dim,
            y.as<float>() + t * heads * dim, x.strides[1] / static_cast<std::int64_t>(sizeof(float)), dim,
            heads, dim / 2});
  }
}

constexpr KernelRow kRows[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, #function, run<function>},
#include "ops/rope/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const KernelRow& row = select(kRows, cpu);
  return {.run = row.run, .kernel = row.name, .tasks = args.output.shape[0], .in_place_inputs = 1};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 8 * n + 4 * static_cast<double>(args.inputs[1].shape.elements()), .flops = 3 * n};
}

constexpr OpDef kRope{"rope", infer, plan, cost};

}  // namespace

Tensor rope(Graph& g, const Operand& x, const Operand& table) { return g.append(kRope, {x, table}); }

}  // namespace tessera::ops
