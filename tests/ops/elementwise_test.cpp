// add, silu_mul and gelu.
#include <gtest/gtest.h>

#include <limits>

#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// -30 … 30 in steps that hit no round numbers, so that every branch of an approximation is met.
std::vector<float> sweep() {
  std::vector<float> values;
  for (int i = -3001; i <= 3001; ++i) values.push_back(static_cast<float>(i) * 0.009997f);
  return values;
}

double gelu_of(double x, ops::Gelu kind) {
  return kind == ops::Gelu::kErf
             ? 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)))
             : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

TEST(Gelu, MatchesDoubleOnEveryLevel) {
  const auto x = sweep();
  const auto n = static_cast<std::int64_t>(x.size());
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    for (const ops::Gelu kind : {ops::Gelu::kTanh, ops::Gelu::kErf}) {
      const auto y = run([&](Graph& g) { return ops::gelu(g, view(x, {1, n}), kind); }, cpu);
      for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(y[i], gelu_of(double{x[i]}, kind), 1e-6 * std::max(1.0, std::abs(double{x[i]})))
            << "x = " << x[i];
      }
    }
  }
}

// Computed with Python (math.tanh, math.erf) and rounded to six digits.
TEST(Gelu, TellsTheTwoFormsApart) {
  const std::vector<float> x{-2, -1, -0.5f, 0, 0.5f, 1, 2};
  const std::vector<float> tanh{-0.045402f, -0.158808f, -0.154286f, 0, 0.345714f, 0.841192f, 1.954598f};
  const std::vector<float> erf{-0.045500f, -0.158655f, -0.154269f, 0, 0.345731f, 0.841345f, 1.954500f};
  for (const Cpu& cpu : cpus()) {
    auto gelu = [&](ops::Gelu kind) {
      return run([&](Graph& g) { return ops::gelu(g, view(x, {1, 7}), kind); }, cpu);
    };
    expect_near(gelu(ops::Gelu::kTanh), tanh, 1.5e-6);
    expect_near(gelu(ops::Gelu::kErf), erf, 1.5e-6);
  }
}

TEST(Gelu, TakesExtremeValues) {
  const std::vector<float> x{kInf, 1e30f, -1e30f, 3e38f, -3e38f, 0.0f, kNan, 1e-40f, -100.0f};
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    for (const ops::Gelu kind : {ops::Gelu::kTanh, ops::Gelu::kErf}) {
      const auto y = run([&](Graph& g) { return ops::gelu(g, view(x, {1, 9}), kind); }, cpu);
      EXPECT_EQ(y[0], kInf);
      EXPECT_EQ(y[1], 1e30f);
      EXPECT_EQ(y[2], 0.0f);
      EXPECT_EQ(y[3], 3e38f);
      EXPECT_EQ(y[4], 0.0f);
      EXPECT_EQ(y[5], 0.0f);
      EXPECT_TRUE(std::isnan(y[6]));
      EXPECT_NEAR(y[7], 0, 1e-37);
      EXPECT_NEAR(y[8], 0, 1e-30);
    }
  }
}

TEST(SiluMul, MatchesDoubleOnEveryLevel) {
  const auto gate = sweep(), up = random_floats(static_cast<std::int64_t>(gate.size()), 1);
  const auto n = static_cast<std::int64_t>(gate.size());
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    const auto y = run([&](Graph& g) { return ops::silu_mul(g, view(gate, {1, n}), view(up, {1, n})); }, cpu);
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double exact = double{gate[i]} / (1 + std::exp(-double{gate[i]})) * double{up[i]};
      ASSERT_NEAR(y[i], exact, 1e-6 * std::abs(exact)) << "gate = " << gate[i];
    }
  }
}

TEST(SiluMul, TakesExtremeValues) {
  const std::vector<float> gate{kInf, 3e38f, -3e38f, -1000, 0, kNan, 1, -87}, up{1, 1, 1, 1, 5, 1, kNan, 1};
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    const auto y = run([&](Graph& g) { return ops::silu_mul(g, view(gate, {1, 8}), view(up, {1, 8})); }, cpu);
    EXPECT_EQ(y[0], kInf);
    EXPECT_EQ(y[1], 3e38f);
    EXPECT_NEAR(y[2], 0, 1);  // 3e38 times the smallest sigmoid that the kernels tell from zero
    EXPECT_NEAR(y[3], 0, 1e-34);
    EXPECT_EQ(y[4], 0);
    EXPECT_TRUE(std::isnan(y[5]));
    EXPECT_TRUE(std::isnan(y[6]));
    EXPECT_NEAR(y[7], 0, 1e-34);
  }
}

struct Elementwise {
  const char* name;
  std::function<Tensor(Graph&, const Operand&, const Operand&)> build;
};

std::vector<Elementwise> elementwise() {
  return {
      {"add", [](Graph& g, const Operand& a, const Operand& b) { return ops::add(g, a, b); }},
      {"silu_mul", [](Graph& g, const Operand& a, const Operand& b) { return ops::silu_mul(g, a, b); }},
      {"gelu", [](Graph& g, const Operand& a, const Operand&) { return ops::gelu(g, a, ops::Gelu::kTanh); }}};
}

TEST(Add, AddsExactly) {
  const auto a = random_floats(3 * 37, 2), b = random_floats(3 * 37, 3);
  const auto y = run([&](Graph& g) { return ops::add(g, view(a, {3, 37}), view(b, {3, 37})); });
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], a[i] + b[i]);
}

// A value is the same bits in the body of a vector, in its tail and in a strided row.
TEST(ElementwiseOps, DoNotDependOnPlaceOrStride) {
  const auto x = random_floats(6 * 80, 4);
  const Tensor none;
  for (const Elementwise& op : elementwise()) {
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(op.name);
      SCOPED_TRACE(name(cpu.best()));
      for (const std::int64_t columns : {1, 3, 8, 15, 17, 39}) {
        const auto strided = run(
            [&](Graph& g) {
              const Tensor all = g.constant(view(x, {6, 80}));
              return op.build(g, ops::slice(g, all, 1, 1, 1 + columns),
                              ops::slice(g, all, 1, 40, 40 + columns));
            },
            cpu, 1);
        std::vector<float> a, b;
        for (std::int64_t r = 0; r < 6; ++r) {
          for (std::int64_t i = 0; i < columns; ++i) {
            a.push_back(x[static_cast<std::size_t>(r * 80 + 1 + i)]);
            b.push_back(x[static_cast<std::size_t>(r * 80 + 40 + i)]);
          }
        }
        const auto dense = run(
            [&](Graph& g) {
              return op.build(g, view(a, {6, columns}), view(b, {6, columns}));
            },
            cpu, 1);
        EXPECT_EQ(dense, strided);
        // One value a row: every value stands in a tail.
        EXPECT_EQ(dense, run(
                             [&](Graph& g) {
                               return op.build(g, view(a, {6 * columns, 1}), view(b, {6 * columns, 1}));
                             },
                             cpu, 1));
      }
    }
  }
}

TEST(ElementwiseOps, RunInPlaceOfEitherInput) {
  const auto a = random_floats(4 * 19, 5), b = random_floats(4 * 19, 6);
  const std::vector<float> zero(4 * 19, 0.0f);
  for (const Elementwise& op : elementwise()) {
    SCOPED_TRACE(op.name);
    for (const Cpu& cpu : cpus()) {
      const auto plain = run([&](Graph& g) { return op.build(g, view(a, {4, 19}), view(b, {4, 19})); }, cpu);
      for (const bool first : {true, false}) {
        if (!first && std::string(op.name) == "gelu") continue;
        Graph g;
        const Tensor copy = ops::add(g, view(first ? a : b, {4, 19}), view(zero, {4, 19}));
        if (first) {
          g.output(op.build(g, copy, view(b, {4, 19})));
        } else {
          g.output(op.build(g, view(a, {4, 19}), copy));
        }
        auto plan = std::make_shared<const Plan>(Plan::make(g, cpu));
        EXPECT_EQ(plan->steps()[0].output.place.offset, plan->steps()[1].output.place.offset);
        EXPECT_LT(plan->arena_bytes(), 2 * 4 * 19 * sizeof(float));
        Executor executor(2);
        executor.prepare(plan);
        executor.run({});
        const float* y = executor.output(0).as<float>();
        EXPECT_EQ(std::vector<float>(y, y + 4 * 19), plain);
      }
    }
  }
}

TEST(ElementwiseOps, WriteNothingBesideTheirRows) {
  for (const Elementwise& op : elementwise()) {
    SCOPED_TRACE(op.name);
    for (const Cpu& cpu : cpus()) {
      for (const std::int64_t columns : {1, 7, 9, 15, 17, 31}) {
        const auto a = random_floats(3 * columns, 7), b = random_floats(3 * columns, 8);
        expect_task_writes_its_row(
            [&](Graph& g) {
              return op.build(g, view(a, {3, columns}), view(b, {3, columns}));
            },
            3, cpu);
      }
    }
  }
}

TEST(ElementwiseOps, RefuseOperandsThatDoNotFit) {
  const std::vector<float> a(6), b(8);
  const std::vector<std::int32_t> ints(6);
  const TensorView a23 = view(a, {2, 3}), b24 = view(b, {2, 4}), i23 = view(ints, {2, 3});
  expect_usage_error([&](Graph& g) { ops::add(g, a23, b24); }, "add: b is f32[2, 4], a is f32[2, 3]");
  expect_usage_error([&](Graph& g) { ops::add(g, i23, a23); }, "add: a is i32[2, 3], expected f32 rows");
  expect_usage_error([&](Graph& g) { ops::silu_mul(g, a23, b24); },
                     "silu_mul: up is f32[2, 4], gate is f32[2, 3]");
  expect_usage_error([&](Graph& g) { ops::silu_mul(g, i23, a23); },
                     "silu_mul: gate is i32[2, 3], expected f32 rows");
  expect_usage_error([&](Graph& g) { ops::gelu(g, i23, ops::Gelu::kErf); },
                     "gelu: x is i32[2, 3], expected f32 rows");
}

}  // namespace
}  // namespace tessera::testing
