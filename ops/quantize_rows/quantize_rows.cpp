#include "ops/quantize_rows/quantize_rows.h"

#include <algorithm>

#include "ops/kernel_row.h"
#include "ops/op_util.h"
#include "ops/quantize_rows/kernels.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kTaskGroups = 16;  // a cold cache line more or less at their ends does not show

TensorDesc infer(const OpArgs& args) {
  const TensorDesc& x = args.inputs[0];
  if (x.dtype != DType::kF32 || x.shape.rank() < 1 || !x.is_dense() || x.shape.back() % kGroupElements != 0) {
    reject("x is " + describe(x) + ", expected dense f32 rows of a multiple of 32");
  }
  return quantized_rows(x);
}

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const std::int64_t groups = args.inputs[0].shape.elements() / kGroupElements;
  const std::int64_t first = begin * kTaskGroups, last = std::min(end * kTaskGroups, groups);
  kernel(args.inputs[0].as<float>() + first * kGroupElements, args.output.as<ActivationGroup>() + first,
         last - first);
}

constexpr KernelRow kRows[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, #function, run<function>},
#include "ops/quantize_rows/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const KernelRow& row = select(kRows, cpu);
  const std::int64_t groups = args.inputs[0].shape.elements() / kGroupElements;
  return {.run = row.run, .kernel = row.name, .tasks = (groups + kTaskGroups - 1) / kTaskGroups};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.inputs[0].shape.elements());
  return {.bytes = n * 4 + n / kGroupElements * sizeof(ActivationGroup), .flops = 4 * n};
}

constexpr OpDef kQuantizeRows{"quantize_rows", infer, plan, cost};

// Far enough for the three products of an attention block with what stands between them.
constexpr int kNodesBack = 16;

}  // namespace

TensorDesc quantized_rows(const TensorDesc& x) {
  std::array<std::int64_t, kMaxRank> dims{};
  std::copy(x.shape.dims().begin(), x.shape.dims().end(), dims.begin());
  const auto rank = static_cast<std::size_t>(x.shape.rank());
  dims[rank - 1] = dims[rank - 1] / kGroupElements * kGroupDwords;
  return TensorDesc::dense(DType::kI32, Shape(std::span<const std::int64_t>(dims.data(), rank)));
}

Tensor quantize_rows(Graph& g, Tensor x) {
  const std::int32_t root = g.node(x).root, last = static_cast<std::int32_t>(g.nodes().size()) - 1;
  for (std::int32_t id = last; id > std::max(last - kNodesBack, x.id); --id) {
    const Node& node = g.node({id});
    if (node.op == &kQuantizeRows && node.inputs[0] == x.id) return {id};
    if (node.op && node.op->writes_input >= 0 && node.root == root) break;
  }
  return g.append(kQuantizeRows, {x});
}

}  // namespace tessera::ops
