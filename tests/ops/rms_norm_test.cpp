#include <gtest/gtest.h>

#include "tensor/error.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

std::vector<float> expected(const std::vector<float>& x, const std::vector<float>& weight, float eps) {
  std::vector<float> y(x.size());
  const std::size_t columns = weight.size();
  for (std::size_t r = 0; r < x.size(); r += columns) {
    double sum = 0;
    for (std::size_t i = 0; i < columns; ++i) sum += double{x[r + i]} * double{x[r + i]};
    const double scale = 1 / std::sqrt(sum / static_cast<double>(columns) + double{eps});
    for (std::size_t i = 0; i < columns; ++i)
      y[r + i] = static_cast<float>(double{x[r + i]} * scale * double{weight[i]});
  }
  return y;
}

TEST(RmsNorm, MatchesDoubleOnEveryLevelAndTail) {
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    for (const std::int64_t columns : {1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 127, 128, 255, 2560}) {
      const auto x = random_floats(3 * columns, 1), weight = random_floats(columns, 2);
      const auto y = run(
          [&](Graph& g) {
            return ops::rms_norm(g, view(x, {3, columns}), view(weight, {columns}), {});
          },
          cpu);
      // Rounding of a sum of n squares, of the root and of two products: far below n / 4 + 4 steps of 2^-24.
      for (const float value : y) ASSERT_TRUE(std::isfinite(value));
      expect_near(y, expected(x, weight, 1e-6f), 2e-6 * 12);
    }
  }
}

TEST(RmsNorm, NormalisesHeadsOfAStridedView) {
  const auto x = random_floats(5 * 3 * 16, 3), weight = random_floats(16, 4);
  const auto y = run([&](Graph& g) {
    const Tensor heads = ops::reshape(g, g.constant(view(x, {5, 48})), {5, 3, 16});
    return ops::rms_norm(g, ops::slice(g, heads, 1, 1, 3), view(weight, {16}), {});
  });
  std::vector<float> picked;
  for (std::size_t t = 0; t < 5; ++t)
    picked.insert(picked.end(), x.begin() + static_cast<long>(t * 48 + 16),
                  x.begin() + static_cast<long>(t * 48 + 48));
  expect_near(y, expected(picked, weight, 1e-6f), 2e-6);
}

TEST(RmsNorm, ZeroRowsStayZero) {
  const std::vector<float> x(32, 0.0f), weight(16, 2.0f);
  for (const Cpu& cpu : cpus()) {
    const auto y = run(
        [&](Graph& g) {
          return ops::rms_norm(g, view(x, {2, 16}), view(weight, {16}), {});
        },
        cpu);
    EXPECT_EQ(y, x);
  }
}

TEST(RmsNorm, RefusesAWeightOfAnotherWidth) {
  const std::vector<float> x(32), weight(8);
  Graph g;
  try {
    ops::rms_norm(g, view(x, {2, 16}), view(weight, {8}), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(error.what(), "rms_norm: weight is f32[8], rows of x are f32[2, 16]");
  }
}

}  // namespace
}  // namespace tessera::testing
