// Three small ops for tests of the tensor core, which knows no op of its own. Values are f32.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "tensor/error.h"
#include "tensor/graph.h"

namespace tessera::testing {

// y[r][i] = factor x[r][i] + sum_j x[r][j] / n: a task a row, in place of x where the planner likes.
Tensor blend(Graph& g, const Operand& x, float factor);
// a + b, in place of either.
Tensor sum(Graph& g, const Operand& a, const Operand& b);
// Writes value into target and returns target.
Tensor store(Graph& g, const Operand& target, const Operand& value);
// x, with `tasks` tasks that count themselves in *calls; the one numbered `stop_at`, or a range of none, sets
// *stop. Threads that ask what to read ahead are counted in *asked, and told a byte of x at `ahead`.
struct Probe {
  std::atomic<int>* calls;
  std::atomic<bool>* stop;
  std::int64_t tasks;
  std::int64_t stop_at;
  std::atomic<int>* asked = nullptr;
  std::int64_t ahead = 0;
};
Tensor probe(Graph& g, const Operand& x, const Probe& params);

inline TensorView dense(const std::vector<float>& values, const Shape& shape) {
  return {DType::kF32, shape, values.data()};
}

}  // namespace tessera::testing
