// A product of two matrices: described as a graph, planned for this CPU, run, printed.
#include <iostream>
#include <memory>
#include <vector>

#include "ops/ops.h"
#include "tensor/executor.h"
#include "tensor/graph.h"
#include "tensor/plan.h"

int main() {
  using namespace tessera;
  std::vector<float> x{1, 2, 3, 4, 5, 6};        // [2, 3]
  const std::vector<float> w{1, 0, 1, 0, 1, 0};  // [2, 3]: y = x w^T

  Graph graph;
  const Tensor input = graph.input(DType::kF32, {2, 3}, "x");
  graph.output(ops::matmul(graph, input, TensorView(DType::kF32, {2, 3}, w.data())));

  const auto plan = std::make_shared<const Plan>(Plan::make(graph, Cpu::from_environment()));
  std::cout << plan->to_string();

  Executor executor(/*threads=*/2);
  executor.prepare(plan);
  void* const slots[] = {x.data()};
  executor.run(slots);

  const float* y = executor.output(0).as<float>();
  std::cout << y[0] << " " << y[1] << "\n" << y[2] << " " << y[3] << "\n";  // 4 2, 10 5
}
