#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

struct Params {
  std::int64_t k;
};

TensorDesc infer(const OpArgs& args) {
  const TensorDesc& x = args.inputs[0];
  const std::int64_t k = args.get<Params>().k;
  if (x.dtype != DType::kF32 || x.shape.rank() < 1 ||
      x.shape.back() > std::numeric_limits<std::int32_t>::max()) {
    reject("x is " + describe(x) + ", expected f32 rows of fewer than 2^31 elements");
  }
  if (k < 1 || k > x.shape.back()) {
    reject("k is " + std::to_string(k) + ", expected 1 to " + std::to_string(x.shape.back()));
  }
  std::array<std::int64_t, kMaxRank> dims{};
  const auto rank = static_cast<std::size_t>(x.shape.rank());
  std::copy(x.shape.dims().begin(), x.shape.dims().end(), dims.begin());
  dims[rank - 1] = k;
  return TensorDesc::dense(DType::kI32, Shape(std::span(dims.data(), rank)));
}

// The k best so far form a heap with the worst on top.
void top_k_row(const float* x, std::int64_t columns, std::int32_t* best, std::int64_t k) {
  const auto before = [x](std::int32_t a, std::int32_t b) {
    if (std::isnan(x[a]) || std::isnan(x[b]))
      return std::isnan(x[a]) == std::isnan(x[b]) ? a < b : std::isnan(x[b]);
    return x[a] > x[b] || (x[a] == x[b] && a < b);
  };
  for (std::int64_t i = 0; i < k; ++i) best[i] = static_cast<std::int32_t>(i);
  std::make_heap(best, best + k, before);
  for (std::int64_t i = k; i < columns; ++i) {
    if (!before(static_cast<std::int32_t>(i), best[0])) continue;
    std::pop_heap(best, best + k, before);
    best[k - 1] = static_cast<std::int32_t>(i);
    std::push_heap(best, best + k, before);
  }
  std::sort_heap(best, best + k, before);
}

void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& x = args.inputs[0];
  const std::int64_t k = args.get<Params>().k;
  for (RowRuns rows(x, begin, end); !rows.done(); rows.next()) {
    for (std::int64_t r = 0; r < rows.count(); ++r) {
      top_k_row(rows.data<float>() + r * rows.stride<float>(), x.shape.back(),
                args.output.as<std::int32_t>() + (rows.index() + r) * k, k);
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  return {.run = run, .kernel = "top_k", .tasks = args.output.shape.rows()};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.inputs[0].shape.elements());
  return {.bytes = 4 * n + 4 * static_cast<double>(args.output.shape.elements()), .flops = n};
}

constexpr OpDef kTopK{"top_k", infer, plan, cost};

}  // namespace

Tensor top_k(Graph& g, const Operand& x, std::int64_t k) { return g.append(kTopK, {x}, Params{k}); }

}  // namespace tessera::ops
