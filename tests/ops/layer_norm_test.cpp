#include <gtest/gtest.h>

#include <limits>

#include "tensor/error.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

constexpr double kUnit = 0x1p-24;

std::vector<float> expected(const std::vector<float>& x, const std::vector<float>& weight,
                            const std::vector<float>& bias, float eps = 1e-6f) {
  std::vector<float> y(x.size());
  const std::size_t columns = weight.size();
  const auto n = static_cast<double>(columns);
  for (std::size_t r = 0; r < x.size(); r += columns) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < columns; ++i) sum += double{x[r + i]};
    for (std::size_t i = 0; i < columns; ++i) squares += std::pow(double{x[r + i]} - sum / n, 2);
    const double scale = 1 / std::sqrt(squares / n + double{eps});
    for (std::size_t i = 0; i < columns; ++i) {
      y[r + i] =
          static_cast<float>((double{x[r + i]} - sum / n) * scale * double{weight[i]} + double{bias[i]});
    }
  }
  return y;
}

std::vector<float> layer_norm(const std::vector<float>& x, const std::vector<float>& weight,
                              const std::vector<float>& bias, const Cpu& cpu, float eps = 1e-6f) {
  const auto columns = static_cast<std::int64_t>(weight.size());
  return run(
      [&](Graph& g) {
        return ops::layer_norm(g, view(x, {static_cast<std::int64_t>(x.size()) / columns, columns}),
                               view(weight, {columns}), view(bias, {columns}), {eps});
      },
      cpu);
}

TEST(LayerNorm, MatchesDoubleOnEveryLevelAndTail) {
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    for (const std::int64_t columns : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 127, 128, 255, 1152, 4608}) {
      SCOPED_TRACE(columns);
      const auto x = random_floats(3 * columns, 1), weight = random_floats(columns, 2),
                 bias = random_floats(columns, 3);
      // Values and weights below 5: the mean, the root and three roundings a value; sums over lanes of
      // n / 16 terms of order 1 err by far less than n steps.
      expect_near(layer_norm(x, weight, bias, cpu, 1e-2f), expected(x, weight, bias, 1e-2f),
                  25 * (8 + static_cast<double>(columns) / 16) * kUnit);
    }
  }
}

TEST(LayerNorm, KeepsTheVarianceUnderALargeOffset) {
  constexpr std::int64_t kColumns = 1024;
  auto x = random_floats(2 * kColumns, 4);
  for (float& value : x) value += 1000;
  const std::vector<float> weight(kColumns, 1.0f), bias(kColumns, 0.0f);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    // Only the mean errs: two sums of lanes of at least 8, so 64 adds and the tree, each by 2^-24 of 1000.
    // E[x^2] - mean^2 would be wrong by 1000^2 2^-24 = 0.06 of the variance.
    expect_near(layer_norm(x, weight, bias, cpu), expected(x, weight, bias), 70 * 1000 * kUnit);
  }
}

TEST(LayerNorm, EqualValuesGiveTheBias) {
  const std::vector<float> x(40, 3.0f), weight(20, 2.0f), bias(20, 0.25f);
  for (const Cpu& cpu : cpus()) {
    for (const float y : layer_norm(x, weight, bias, cpu)) EXPECT_EQ(y, 0.25f);
  }
}

TEST(LayerNorm, NanStaysInItsRow) {
  auto x = random_floats(3 * 33, 5);
  x[33 + 32] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> weight(33, 1.0f), bias(33, 0.0f);
  for (const Cpu& cpu : cpus()) {
    const auto y = layer_norm(x, weight, bias, cpu);
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 33 == 1) << i;
  }
}

TEST(LayerNorm, NormalisesRowsOfAStridedView) {
  const auto x = random_floats(5 * 48, 6), weight = random_floats(17, 7), bias = random_floats(17, 8);
  std::vector<float> picked;
  for (std::size_t t = 0; t < 5; ++t)
    picked.insert(picked.end(), x.begin() + static_cast<long>(t * 48 + 9),
                  x.begin() + static_cast<long>(t * 48 + 26));
  for (const Cpu& cpu : cpus()) {
    const auto y = run(
        [&](Graph& g) {
          const Tensor part = ops::slice(g, g.constant(view(x, {5, 48})), 1, 9, 26);
          return ops::layer_norm(g, part, view(weight, {17}), view(bias, {17}), {});
        },
        cpu);
    expect_near(y, expected(picked, weight, bias), 2e-5);
  }
}

TEST(LayerNorm, RunsInPlace) {
  const auto x = random_floats(4 * 30, 9), weight = random_floats(30, 10), bias = random_floats(30, 11);
  for (const Cpu& cpu : cpus()) {
    Graph g;
    const Tensor first = ops::layer_norm(g, view(x, {4, 30}), view(weight, {30}), view(bias, {30}), {});
    g.output(ops::layer_norm(g, first, view(weight, {30}), view(bias, {30}), {}));
    const Plan plan = Plan::make(g, cpu);
    EXPECT_EQ(plan.steps()[0].output.place.offset, plan.steps()[1].output.place.offset);
    EXPECT_LT(plan.arena_bytes(), 2 * 4 * 30 * sizeof(float));
    const auto once = layer_norm(x, weight, bias, cpu);
    EXPECT_EQ(
        run(
            [&](Graph& h) {
              const Tensor a = ops::layer_norm(h, view(x, {4, 30}), view(weight, {30}), view(bias, {30}), {});
              return ops::layer_norm(h, a, view(weight, {30}), view(bias, {30}), {});
            },
            cpu),
        layer_norm(once, weight, bias, cpu));
  }
}

TEST(LayerNorm, WritesNothingBesideItsRow) {
  for (const Cpu& cpu : cpus()) {
    for (const std::int64_t columns : {2, 7, 9, 15, 17, 31}) {
      const auto x = random_floats(3 * columns, 12), weight = random_floats(columns, 13);
      expect_task_writes_its_row(
          [&](Graph& g) {
            return ops::layer_norm(g, view(x, {3, columns}), view(weight, {columns}), view(weight, {columns}),
                                   {});
          },
          3, cpu);
    }
  }
}

TEST(LayerNorm, RefusesOperandsThatDoNotFit) {
  const std::vector<float> x(32), short_row(8), row(16);
  const std::vector<std::int32_t> ints(32);
  expect_usage_error(
      [&](Graph& g) {
        ops::layer_norm(g, view(x, {2, 16}), view(short_row, {8}), view(row, {16}), {});
      },
      "layer_norm: weight is f32[8], rows of x are f32[2, 16]");
  expect_usage_error(
      [&](Graph& g) {
        ops::layer_norm(g, view(x, {2, 16}), view(row, {16}), view(short_row, {8}), {});
      },
      "layer_norm: bias is f32[8], rows of x are f32[2, 16]");
  expect_usage_error(
      [&](Graph& g) {
        ops::layer_norm(g, view(ints, {2, 16}), view(row, {16}), view(row, {16}), {});
      },
      "layer_norm: x is i32[2, 16], expected f32 rows");
}

}  // namespace
}  // namespace tessera::testing
