#include "ops/gelu/kernels.h"
#include "ops/kernel_row.h"
#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

struct Params {
  Gelu kind;
};

TensorDesc infer(const OpArgs& args) {
  const TensorDesc& x = args.inputs[0];
  if (x.dtype != DType::kF32 || x.shape.rank() < 1) reject("x is " + describe(x) + ", expected f32 rows");
  return TensorDesc::dense(DType::kF32, x.shape);
}

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const bool erf = args.get<Params>().kind == Gelu::kErf;
  const TensorView &x = args.inputs[0], &y = args.output;
  const std::int64_t columns = x.shape.back();
  for (RowRuns rows(x, begin, end); !rows.done(); rows.next()) {
    const bool contiguous = rows.stride<float>() == columns;
    const std::int64_t pieces = contiguous ? 1 : rows.count();
    const std::int64_t n = contiguous ? rows.count() * columns : columns;
    for (std::int64_t i = 0; i < pieces; ++i) {
      kernel({rows.data<float>() + i * rows.stride<float>(), y.as<float>() + (rows.index() + i) * columns, n,
              erf});
    }
  }
}

constexpr KernelRow kRows[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, #function, run<function>},
#include "ops/gelu/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const KernelRow& row = select(kRows, cpu);
  return {.run = row.run, .kernel = row.name, .tasks = args.output.shape.rows(), .in_place_inputs = 1};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 8 * n, .flops = 25 * n};
}

constexpr OpDef kGelu{"gelu", infer, plan, cost};

}  // namespace

Tensor gelu(Graph& g, const Operand& x, Gelu kind) { return g.append(kGelu, {x}, Params{kind}); }

}  // namespace tessera::ops
