// Runs one op through graph, plan and executor, and walks over the levels that this CPU has.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "tensor/error.h"
#include "tensor/executor.h"
#include "tensor/plan.h"

namespace tessera::testing {

// n values of a normal distribution, the same for the same seed.
inline std::vector<float> random_floats(std::int64_t n, unsigned seed, float scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(engine);
  return values;
}

inline TensorView view(const std::vector<float>& values, const Shape& shape) {
  EXPECT_EQ(static_cast<std::int64_t>(values.size()), shape.elements());
  return {DType::kF32, shape, values.data()};
}
inline TensorView view(const std::vector<std::int32_t>& values, const Shape& shape) {
  EXPECT_EQ(static_cast<std::int64_t>(values.size()), shape.elements());
  return {DType::kI32, shape, values.data()};
}

// The levels that this CPU has, or TESSERA_ISA leaves of them.
inline std::vector<Cpu> cpus() {
  const Cpu cpu = Cpu::from_environment();
  std::vector<Cpu> all;
  for (const IsaLevelInfo& row : isa_levels()) {
    if (cpu.has(row.level)) all.push_back(cpu.limited_to(row.level));
  }
  return all;
}

// Builds a graph with `build`, runs it, and returns its one output, copied dense.
template <typename T = float>
std::vector<T> run(const std::function<Tensor(Graph&)>& build, const Cpu& cpu = Cpu::from_environment(),
                   int threads = 2) {
  Graph g;
  g.output(build(g));
  Executor executor(threads);
  executor.prepare(std::make_shared<const Plan>(Plan::make(g, cpu)));
  EXPECT_EQ(executor.run({}), RunStatus::kDone);
  const TensorView out = executor.output(0);
  EXPECT_TRUE(out.is_dense());
  return {out.as<T>(), out.as<T>() + out.shape.elements()};
}

// The names of the plan's steps.
inline std::vector<std::string> step_names(const Plan& plan) {
  std::vector<std::string> names;
  for (const Step& step : plan.steps()) names.emplace_back(step.op->name);
  return names;
}

// |a - b| <= bound for every element; NaN only where b has it.
inline void expect_near(const std::vector<float>& a, const std::vector<float>& b, double bound) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(b[i])) {
      EXPECT_TRUE(std::isnan(a[i])) << "at " << i;
    } else {
      ASSERT_LE(std::abs(double{a[i]} - double{b[i]}), bound)
          << "at " << i << ": " << a[i] << " and " << b[i];
    }
  }
}

// Task 1 of the one op that `build` appends to constants writes the second of `rows` equal parts of its
// output and nothing beside it.
inline void expect_task_writes_its_row(const std::function<Tensor(Graph&)>& build, std::int64_t rows,
                                       const Cpu& cpu) {
  Graph g;
  build(g);
  const Plan plan = Plan::make(g, cpu);
  ASSERT_EQ(plan.steps().size(), 1u);
  const Step& step = plan.steps()[0];
  ASSERT_EQ(step.plan.tasks, rows);
  std::vector<TensorView> inputs;
  for (const PlacedTensor& input : step.inputs) inputs.emplace_back(input.desc, input.place.data);
  constexpr float kGuard = 12345.5f;
  std::vector<float> y(static_cast<std::size_t>(step.output.desc.shape.elements()), kGuard);
  step.plan.run({inputs.data(), TensorView(step.output.desc, y.data()), step.params.data()}, 1, 2);
  const std::size_t part = y.size() / static_cast<std::size_t>(rows);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i] != kGuard, i / part == 1) << "at " << i;
}

// `build` throws Error{kUsage} with that message.
inline void expect_usage_error(const std::function<void(Graph&)>& build, const std::string& message) {
  Graph g;
  try {
    build(g);
    ADD_FAILURE() << "no error, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.what(), message);
  }
}

}  // namespace tessera::testing
