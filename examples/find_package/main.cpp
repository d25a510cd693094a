// Two layers of a network over an installed tessera: y = gelu(x w^T) rms-normalised, planned before any
// memory is taken.
#include <iostream>
#include <memory>
#include <vector>

#include "ops/ops.h"
#include "tensor/error.h"
#include "tensor/executor.h"
#include "tensor/plan.h"

int main() {
  using namespace tessera;
  const std::vector<float> x(4 * 64, 0.5f), w(32 * 64, 0.25f), ones(32, 1.0f);
  const TensorView weight(DType::kF32, {32, 64}, w.data());
  try {
    Graph graph;
    const Tensor hidden = ops::gelu(
        graph, ops::matmul(graph, TensorView(DType::kF32, {4, 64}, x.data()), weight), ops::Gelu::kErf);
    graph.output(ops::rms_norm(graph, hidden, TensorView(DType::kF32, {32}, ones.data()), {.eps = 1e-6f}));
    const auto plan = std::make_shared<const Plan>(Plan::make(graph, Cpu::from_environment()));
    std::cout << "needs " << plan->bytes(1) << " bytes\n";

    Executor executor(1);
    executor.prepare(plan);
    executor.run({});
    const float y = executor.output(0).as<float>()[0];
    std::cout << "a row of equal values, normalised: " << y << '\n';
    return y > 0.999f && y < 1.001f ? 0 : 1;
  } catch (const Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
