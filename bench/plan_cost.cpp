#include "bench/plan_cost.h"

#include <string_view>

namespace tessera::bench {
namespace {

OpCost causal_attention_cost(const Step& step, std::int64_t past) {
  const TensorDesc &q = step.inputs[0].desc, &cache = step.inputs[1].desc;
  const std::int64_t rows = q.shape[0];
  const auto outputs = static_cast<double>(q.shape.elements());
  const double keys = static_cast<double>(past) + static_cast<double>(rows + 1) / 2;  // mean over the rows
  const double row_bytes = static_cast<double>(dense_bytes(cache.dtype, {cache.shape[1], cache.shape[2]}));
  return {.bytes = 8 * outputs + 2 * static_cast<double>(past + rows) * row_bytes,
          .flops = 4 * outputs * keys};
}

}  // namespace

OpCost cost_of_run(const Plan& plan, std::int64_t past) {
  OpCost total;
  double seen = 1;  // share of the cache
  for (const Step& step : plan.steps()) {
    OpCost cost = step.cost;
    if (std::string_view(step.op->name) == "causal_attention") {
      cost = causal_attention_cost(step, past);
      const std::int64_t rows = step.inputs[0].desc.shape[0], capacity = step.inputs[1].desc.shape[0];
      seen = static_cast<double>(past + rows) / static_cast<double>(capacity);
    } else if (std::string_view(step.op->name) == "merge_attention") {
      cost = {cost.bytes * seen, cost.flops * seen};
    }
    total.bytes += cost.bytes;
    total.flops += cost.flops;
  }
  return total;
}

}  // namespace tessera::bench
