#include "tests/tensor/small_ops.h"

#include <cstring>

namespace tessera::testing {
namespace {

TensorDesc like_first(const OpArgs& args) {
  for (const TensorDesc& input : args.inputs) {
    if (input.dtype != DType::kF32 || input.shape != args.inputs[0].shape) {
      throw Error(ErrorCode::kUsage, "", "", "operands differ");
    }
  }
  return TensorDesc::dense(DType::kF32, args.inputs[0].shape);
}

OpCost one_pass(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 8 * n, .flops = 2 * n};
}

void run_blend(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const std::int64_t n = args.output.shape.back();
  auto* scratch = reinterpret_cast<float*>(args.workspace);
  for (std::int64_t r = begin; r < end; ++r) {
    const float* x = args.inputs[0].as<float>() + r * n;
    std::memcpy(scratch, x, static_cast<std::size_t>(n) * sizeof(float));
    float mean = 0;
    for (std::int64_t i = 0; i < n; ++i) mean += scratch[i] / static_cast<float>(n);
    for (std::int64_t i = 0; i < n; ++i)
      args.output.as<float>()[r * n + i] = args.get<float>() * scratch[i] + mean;
  }
}
OpPlan plan_blend(const OpArgs& args, const Cpu&) {
  return {.run = run_blend,
          .kernel = "blend_ref",
          .tasks = args.output.shape.rows(),
          .workspace_bytes = static_cast<std::size_t>(args.output.shape.back()) * sizeof(float),
          .in_place_inputs = 1};
}
constexpr OpDef kBlend{"blend", like_first, plan_blend, one_pass};

void run_sum(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  for (std::int64_t i = begin; i < end; ++i) {
    args.output.as<float>()[i] = args.inputs[0].as<float>()[i] + args.inputs[1].as<float>()[i];
  }
}
OpPlan plan_sum(const OpArgs& args, const Cpu&) {
  return {.run = run_sum, .kernel = "sum_ref", .tasks = args.output.shape.elements(), .in_place_inputs = 3};
}
constexpr OpDef kSum{"sum", like_first, plan_sum, one_pass};

void run_store(const KernelArgs& args, std::int64_t, std::int64_t) noexcept {
  const auto bytes = static_cast<std::size_t>(args.output.shape.elements()) * sizeof(float);
  std::memcpy(args.output.data, args.inputs[1].data, bytes);
}
OpPlan plan_store(const OpArgs&, const Cpu&) { return {.run = run_store, .kernel = "store_ref"}; }
constexpr OpDef kStore{"store", like_first, plan_store, one_pass, 0};

void run_probe(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const auto& p = args.get<Probe>();
  *p.calls += static_cast<int>(end - begin);
  if (begin == end || (begin <= p.stop_at && p.stop_at < end)) *p.stop = true;
}
Stretch stretch_probe(const KernelArgs& args, std::int64_t) noexcept {
  const auto& p = args.get<Probe>();
  ++*p.asked;
  return {0, p.ahead, 1};
}
OpPlan plan_probe(const OpArgs& args, const Cpu&) {
  const auto& p = args.get<Probe>();
  return {.run = run_probe,
          .stretch = p.asked ? stretch_probe : nullptr,
          .kernel = "probe_ref",
          .tasks = p.tasks};
}
constexpr OpDef kProbe{"probe", like_first, plan_probe, one_pass};

}  // namespace

Tensor blend(Graph& g, const Operand& x, float factor) { return g.append(kBlend, {x}, factor); }
Tensor sum(Graph& g, const Operand& a, const Operand& b) { return g.append(kSum, {a, b}); }
Tensor store(Graph& g, const Operand& target, const Operand& value) {
  return g.append(kStore, {target, value});
}
Tensor probe(Graph& g, const Operand& x, const Probe& params) { return g.append(kProbe, {x}, params); }

}  // namespace tessera::testing
