#include "tensor/error.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

std::vector<float> softmax(const std::vector<float>& x, const Shape& shape) {
  return run([&](Graph& g) { return ops::softmax(g, view(x, shape)); });
}

TEST(Softmax, MatchesDouble) {
  for (const std::int64_t columns : {1, 2, 7, 128, 5000}) {
    const auto x = random_floats(3 * columns, 1, 5);
    const auto y = softmax(x, {3, columns});
    for (std::int64_t r = 0; r < 3; ++r) {
      const float* row = x.data() + r * columns;
      double sum = 0;
      const double largest = double{*std::max_element(row, row + columns)};
      for (std::int64_t i = 0; i < columns; ++i) sum += std::exp(double{row[i]} - largest);
      for (std::int64_t i = 0; i < columns; ++i) {
        const double expected = std::exp(double{row[i]} - largest) / sum;
        // The rounded difference (at most 50 here), exp, the factor and the product, each in steps of 2^-24.
        EXPECT_NEAR(double{y[static_cast<std::size_t>(r * columns + i)]}, expected,
                    expected * 60 * 0x1p-24 + 1e-37);
      }
    }
  }
}

TEST(Softmax, KeepsExtremesFinite) {
  EXPECT_EQ(softmax({3e38f, -3e38f, 3e38f, -INFINITY}, {4}), (std::vector<float>{0.5f, 0, 0.5f, 0}));
  EXPECT_EQ(softmax({-3e38f, -3e38f}, {1, 2}), (std::vector<float>{0.5f, 0.5f}));
}

TEST(Softmax, GivesZerosForARowOfMinusInfinity) {
  EXPECT_EQ(softmax({-INFINITY, -INFINITY, 1, 1}, {2, 2}), (std::vector<float>{0, 0, 0.5f, 0.5f}));
}

TEST(Softmax, PropagatesNaNToItsRowAlone) {
  for (const float other : {1.0f, -INFINITY}) {
    const auto y = softmax({NAN, other, other, NAN, 0, 0}, {3, 2});
    for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(std::isnan(y[i])) << i;
    EXPECT_EQ(y[4], 0.5f);
  }
}

TEST(Softmax, TakesStridedRowsAndItsOwnInput) {
  const auto x = random_floats(4 * 6, 1);
  std::vector<float> middle;
  for (std::ptrdiff_t r = 0; r < 4; ++r)
    middle.insert(middle.end(), x.begin() + r * 6 + 2, x.begin() + r * 6 + 5);
  const auto once = run([&](Graph& g) {
    return ops::softmax(g, ops::slice(g, g.constant(view(x, {4, 6})), 1, 2, 5));
  });
  EXPECT_EQ(once, softmax(middle, {4, 3}));
  EXPECT_EQ(run([&](Graph& g) {
              return ops::softmax(g, ops::softmax(g, view(middle, {4, 3})));
            }),
            softmax(once, {4, 3}));
}

TEST(Softmax, RefusesOtherTypes) {
  const std::vector<std::int32_t> x(4);
  Graph g;
  try {
    ops::softmax(g, view(x, {4}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(error.what(), "softmax: x is i32[4], expected f32 rows");
  }
}

}  // namespace
}  // namespace tessera::testing
