// A forced level decides which kernels a plan holds.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "ops/kernel_table.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

// One step of each op that has kernels for several levels and no formats to choose from.
void build_all(Graph& g, const std::vector<float>& x, const std::vector<float>& row) {
  const TensorView matrix = view(x, {2, 16}), weight = view(row, {16});
  ops::rms_norm(g, matrix, weight, {});
  ops::layer_norm(g, matrix, weight, weight, {});
  ops::gelu(g, matrix, ops::Gelu::kErf);
  ops::silu_mul(g, matrix, matrix);
  ops::rope(g, view(x, {2, 2, 8}), view(row, {2, 4, 2}));
}

// The first row of the op's list that the CPU can run.
std::string_view listed(std::string_view op, const Cpu& cpu) {
  for (const ops::KernelListing& row : ops::kernel_table()) {
    if (row.op == op && cpu.has(row.level)) return row.kernel;
  }
  return "";
}

class Levels : public ::testing::Test {
 protected:
  const std::vector<float> x_ = random_floats(32, 1), row_ = random_floats(16, 2);
};

TEST_F(Levels, PlansTakeTheBestKernelThatTheLevelAllows) {
  Graph g;
  build_all(g, x_, row_);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    const Plan plan = Plan::make(g, cpu);
    ASSERT_EQ(plan.steps().size(), 5u);
    for (const Step& step : plan.steps()) EXPECT_EQ(step.plan.kernel, listed(step.op->name, cpu));
  }
}

TEST_F(Levels, ScalarTakesTheReferences) {
  Graph g;
  build_all(g, x_, row_);
  const Plan plan = Plan::make(g, Cpu::detect().limited_to(IsaLevel::kScalar));
  for (const Step& step : plan.steps()) EXPECT_EQ(step.plan.kernel, std::string(step.op->name) + "_ref");
}

TEST_F(Levels, TheEnvironmentForcesALevel) {
  const char* before = std::getenv("TESSERA_ISA");
  const std::string saved = before ? before : "";
  for (const Cpu& cpu : cpus()) {
    setenv("TESSERA_ISA", std::string(name(cpu.best())).c_str(), 1);
    Graph g;
    build_all(g, x_, row_);
    const Plan forced = Plan::make(g, Cpu::from_environment()), limited = Plan::make(g, cpu);
    EXPECT_EQ(forced.to_string(), limited.to_string());
  }
  before ? setenv("TESSERA_ISA", saved.c_str(), 1) : unsetenv("TESSERA_ISA");
}

}  // namespace
}  // namespace tessera::testing
