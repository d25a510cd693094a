#include <algorithm>
#include <numeric>

#include "tensor/error.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

using Indices = std::vector<std::int32_t>;

Indices top_k(const std::vector<float>& x, const Shape& shape, std::int64_t k) {
  return run<std::int32_t>([&](Graph& g) { return ops::top_k(g, view(x, shape), k); });
}

TEST(TopK, EqualsAStableSort) {
  for (const std::int64_t columns : {1, 2, 17, 1000}) {
    auto x = random_floats(columns, 1);
    for (float& value : x) value = std::round(value * 8);  // many equal values
    Indices all(x.size());
    std::iota(all.begin(), all.end(), 0);
    std::stable_sort(all.begin(), all.end(), [&](std::int32_t a, std::int32_t b) {
      return x[static_cast<std::size_t>(a)] > x[static_cast<std::size_t>(b)];
    });
    for (const std::int64_t k : {std::int64_t{1}, columns / 2, columns}) {
      if (k < 1) continue;
      EXPECT_EQ(top_k(x, {columns}, k), Indices(all.begin(), all.begin() + k));
    }
  }
}

TEST(TopK, CountsNaNAsSmallest) {
  EXPECT_EQ(top_k({NAN, -INFINITY, NAN, INFINITY, 0, -0.0f}, {6}, 6), (Indices{3, 4, 5, 1, 0, 2}));
  EXPECT_EQ(top_k({NAN, NAN, 1}, {3}, 2), (Indices{2, 0}));
}

TEST(TopK, WorksRowByRowOnStridedValues) {
  const std::vector<float> x{9, 1, 2, 3, 9, 3, 2, 1, 9, 5, 6, 5, 9, 0, 0, 0};
  const auto best = run<std::int32_t>([&](Graph& g) {
    return ops::top_k(g, ops::slice(g, g.constant(view(x, {2, 2, 4})), 2, 1, 4), 2);
  });
  EXPECT_EQ(best, (Indices{2, 1, 0, 1, 1, 0, 0, 1}));
}

TEST(TopK, RefusesAnImpossibleK) {
  const std::vector<float> x(6);
  for (const std::int64_t k : {-1, 0, 4}) {
    Graph g;
    try {
      ops::top_k(g, view(x, {2, 3}), k);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_EQ(error.what(), "top_k: k is " + std::to_string(k) + ", expected 1 to 3");
    }
  }
}

}  // namespace
}  // namespace tessera::testing
