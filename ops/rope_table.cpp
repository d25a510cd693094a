#include <cmath>

#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

struct Params {
  double theta;
  std::int32_t head_dim;
  RopeLayout layout;
  std::array<std::int32_t, 3> sections;
  std::int32_t unused = 0;  // keeps padding, whose bytes the graph's hash would read, away
};
static_assert(sizeof(Params) == 32);

std::int64_t axes(RopeLayout layout) {
  if (layout == RopeLayout::kSequence) return 1;
  return layout == RopeLayout::kGrid ? 2 : 3;
}

bool has_sections(RopeLayout layout) {
  return layout == RopeLayout::kChunked || layout == RopeLayout::kInterleaved;
}

TensorDesc infer(const OpArgs& args) {
  const TensorDesc& positions = args.inputs[0];
  const auto& p = args.get<Params>();
  const std::int32_t unit = p.layout == RopeLayout::kGrid ? 4 : 2;
  if (p.head_dim <= 0 || p.head_dim % unit != 0) {
    reject("head_dim is " + std::to_string(p.head_dim) + ", expected a multiple of " + std::to_string(unit));
  }
  if (!(p.theta > 0)) reject("theta is " + std::to_string(p.theta) + ", expected a positive number");
  if (positions.dtype != DType::kI32 || positions.shape.rank() != 2 || positions.shape[0] != axes(p.layout)) {
    reject("positions is " + describe(positions) + ", expected i32[" + std::to_string(axes(p.layout)) +
           ", T]");
  }
  if (has_sections(p.layout)) {
    std::int64_t sum = 0;
    bool negative = false;
    for (const std::int32_t s : p.sections) {
      sum += s;
      negative |= s < 0;
    }
    if (negative || sum != p.head_dim / 2) {
      reject("sections sum to " + std::to_string(sum) + ", head_dim / 2 is " +
             std::to_string(p.head_dim / 2));
    }
  }
  return TensorDesc::dense(DType::kF32, {positions.shape[1], p.head_dim / 2, 2});
}

// Which row of positions frequency i follows.
std::int64_t axis_of(const Params& p, std::int32_t i) {
  const auto& s = p.sections;
  switch (p.layout) {
    case RopeLayout::kSequence:
      return 0;
    case RopeLayout::kChunked:
      return i < s[0] ? 0 : i < s[0] + s[1] ? 1 : 2;
    case RopeLayout::kInterleaved:
      if (i % 3 == 1 && i < 3 * s[1]) return 1;
      return i % 3 == 2 && i < 3 * s[2] ? 2 : 0;
    case RopeLayout::kGrid:
      return i < p.head_dim / 4 ? 0 : 1;
  }
  return 0;
}

double frequency(const Params& p, std::int32_t i) {
  if (p.layout == RopeLayout::kGrid) {
    const std::int32_t quarter = p.head_dim / 4;
    return std::pow(p.theta, -2.0 * (i % quarter) / (p.head_dim / 2));
  }
  return std::pow(p.theta, -2.0 * i / p.head_dim);
}

void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const auto& p = args.get<Params>();
  const TensorView& positions = args.inputs[0];
  const std::int32_t half = p.head_dim / 2;
  auto* frequencies = reinterpret_cast<double*>(args.workspace);
  for (std::int32_t i = 0; i < half; ++i) frequencies[i] = frequency(p, i);
  for (std::int64_t t = begin; t < end; ++t) {
    float* row = args.output.as<float>() + t * p.head_dim;
    for (std::int32_t i = 0; i < half; ++i) {
      const std::byte* axis = positions.data + axis_of(p, i) * positions.strides[0];
      const double angle = reinterpret_cast<const std::int32_t*>(axis)[t] * frequencies[i];
      row[2 * i] = static_cast<float>(std::cos(angle));
      row[2 * i + 1] = static_cast<float>(std::sin(angle));
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  const auto half = static_cast<std::size_t>(args.output.shape[1]);
  return {.run = run,
          .kernel = "rope_table",
          .tasks = args.output.shape[0],
          .workspace_bytes = half * sizeof(double)};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 4 * n, .flops = 20 * n};
}

constexpr OpDef kRopeTable{"rope_table", infer, plan, cost};

}  // namespace

Tensor rope_table(Graph& g, const Operand& positions, const RopeOptions& options) {
  return g.append(kRopeTable, {positions},
                  Params{options.theta, options.head_dim, options.layout, options.sections});
}

}  // namespace tessera::ops
