// reshape, slice, concat, scatter_rows and scatter_add_rows.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

std::vector<float> counting(int n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

// A copy of x, dense: what a view reads.
std::vector<float> read(const std::function<Tensor(Graph&)>& build) {
  return run([&](Graph& g) {
    const Tensor x = build(g);
    static const std::vector<float> zeros(1000);
    const Shape& shape = g.shape(x);
    return ops::add(g, x, TensorView(DType::kF32, shape, zeros.data()));
  });
}

TEST(Reshape, ReadsTheSameValuesInOrder) {
  const auto x = counting(24);
  EXPECT_EQ(read([&](Graph& g) { return ops::reshape(g, g.constant(view(x, {4, 6})), {2, 3, 4}); }), x);
  EXPECT_EQ(read([&](Graph& g) { return ops::reshape(g, g.constant(view(x, {4, 6})), {24}); }), x);
}

TEST(Slice, ReadsPartOfAnyExtent) {
  const auto x = counting(2 * 3 * 4);
  auto slice = [&](int axis, std::int64_t begin, std::int64_t end) {
    return read([&](Graph& g) { return ops::slice(g, g.constant(view(x, {2, 3, 4})), axis, begin, end); });
  };
  using V = std::vector<float>;
  EXPECT_EQ(slice(0, 1, 2), (V{12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(slice(1, 1, 3), (V{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(slice(2, 2, 3), (V{2, 6, 10, 14, 18, 22}));
  EXPECT_EQ(slice(1, 1, 1), V{});
  EXPECT_EQ(read([&](Graph& g) {
              const Tensor part = ops::slice(g, g.constant(view(x, {2, 3, 4})), 1, 1, 3);
              return ops::slice(g, part, 2, 1, 2);
            }),
            (V{5, 9, 17, 21}));
}

TEST(Views, SplitTheLastExtentOfASlice) {
  const auto x = counting(24);
  EXPECT_EQ(read([&](Graph& g) {
              const Tensor part = ops::slice(g, g.constant(view(x, {2, 12})), 1, 4, 8);
              return ops::slice(g, ops::reshape(g, part, {2, 2, 2}), 1, 1, 2);
            }),
            (std::vector<float>{6, 7, 18, 19}));
}

TEST(Views, RefuseWhatTheyCannotRead) {
  const auto x = counting(12);
  const TensorView x34 = view(x, {3, 4});
  expect_usage_error(
      [&](Graph& g) {
        ops::reshape(g, g.constant(x34), {5, 2});
      },
      "reshape: cannot read f32[3, 4] as [5, 2]");
  expect_usage_error(
      [&](Graph& g) { ops::reshape(g, ops::slice(g, g.constant(x34), 1, 0, 2), {6}); },
      "reshape: cannot read f32[3, 2] as [6]: it is not dense, only its last extent can be split");
  for (const auto& [axis, begin, end] : {std::array{2, 0, 1}, {-1, 0, 1}, {0, -1, 1}, {0, 2, 1}, {1, 0, 5}}) {
    expect_usage_error(
        [&, a = axis, b = begin, e = end](Graph& g) { ops::slice(g, g.constant(x34), a, b, e); },
        "slice: no [" + std::to_string(begin) + ", " + std::to_string(end) + ") of axis " +
            std::to_string(axis) + " in f32[3, 4]");
  }
}

TEST(Concat, PutsRowsOneAfterTheOther) {
  const auto a = counting(6), b = random_floats(9, 1);
  const std::vector<float> none;
  auto both = a;
  both.insert(both.end(), b.begin(), b.end());
  EXPECT_EQ(run([&](Graph& g) { return ops::concat(g, view(a, {2, 3}), view(b, {3, 3})); }), both);
  EXPECT_EQ(run([&](Graph& g) { return ops::concat(g, view(a, {6}), view(b, {9})); }), both);
  EXPECT_EQ(run([&](Graph& g) { return ops::concat(g, view(none, {0, 3}), view(b, {3, 3})); }), b);
}

TEST(Concat, ReadsStridedRows) {
  const auto x = counting(2 * 2 * 3);
  EXPECT_EQ(run([&](Graph& g) {
              const Tensor all = g.constant(view(x, {2, 2, 3}));
              return ops::concat(g, ops::slice(g, all, 1, 1, 2), ops::slice(g, all, 1, 0, 1));
            }),
            (std::vector<float>{3, 4, 5, 9, 10, 11, 0, 1, 2, 6, 7, 8}));
}

TEST(Concat, RefusesOtherExtents) {
  const std::vector<float> a(6), b(8);
  const std::vector<std::int32_t> ints(6);
  expect_usage_error(
      [&](Graph& g) {
        ops::concat(g, view(a, {2, 3}), view(b, {2, 4}));
      },
      "concat: b is f32[2, 4], a is f32[2, 3]");
  expect_usage_error(
      [&](Graph& g) {
        ops::concat(g, view(a, {2, 3}), view(a, {2, 3, 1}));
      },
      "concat: b is f32[2, 3, 1], a is f32[2, 3]");
  expect_usage_error(
      [&](Graph& g) {
        ops::concat(g, view(ints, {2, 3}), view(a, {2, 3}));
      },
      "concat: a is i32[2, 3], expected f32 rows");
}

struct Scatter {
  const char* name;
  Tensor (*build)(Graph&, const Operand&, const Operand&, const Operand&);
  bool adds;
};
constexpr Scatter kScatters[] = {{"scatter_rows", ops::scatter_rows, false},
                                 {"scatter_add_rows", ops::scatter_add_rows, true}};

std::vector<float> expected(std::vector<float> y, const std::vector<float>& rows,
                            const std::vector<std::int32_t>& index, std::size_t columns, bool adds) {
  for (std::size_t i = 0; i < index.size(); ++i) {
    if (index[i] < 0 || static_cast<std::size_t>(index[i]) * columns >= y.size()) continue;
    for (std::size_t k = 0; k < columns; ++k) {
      float& to = y[static_cast<std::size_t>(index[i]) * columns + k];
      to = (adds ? to : 0) + rows[i * columns + k];
    }
  }
  return y;
}

TEST(ScatterRows, ReplacesOrAddsTheNamedRows) {
  for (const Scatter& scatter : kScatters) {
    SCOPED_TRACE(scatter.name);
    for (const std::int64_t columns : {1, 5, 255, 256, 257, 700}) {
      const auto x = random_floats(7 * columns, 1), rows = random_floats(3 * columns, 2);
      const std::vector<std::int32_t> index{6, 0, 3};
      EXPECT_EQ(run([&](Graph& g) {
                  return scatter.build(g, view(x, {7, columns}), view(rows, {3, columns}), view(index, {3}));
                }),
                expected(x, rows, index, static_cast<std::size_t>(columns), scatter.adds));
    }
  }
}

TEST(ScatterRows, TakesRepeatedIndicesInOrder) {
  const auto x = random_floats(4 * 300, 3), rows = random_floats(3 * 300, 4);
  const std::vector<std::int32_t> index{2, 1, 2};
  for (const Scatter& scatter : kScatters) {
    EXPECT_EQ(run([&](Graph& g) {
                return scatter.build(g, view(x, {4, 300}), view(rows, {3, 300}), view(index, {3}));
              }),
              expected(x, rows, index, 300, scatter.adds));
  }
}

TEST(ScatterRows, LeavesOutIndicesOutsideTheRows) {
  const auto x = random_floats(2 * 3, 5), rows = random_floats(4 * 3, 6);
  const std::vector<std::int32_t> index{-1, 2, INT32_MAX, INT32_MIN};
  for (const Scatter& scatter : kScatters) {
    EXPECT_EQ(run([&](Graph& g) {
                return scatter.build(g, view(x, {2, 3}), view(rows, {4, 3}), view(index, {4}));
              }),
              x);
  }
}

TEST(ScatterRows, ReadsStridedRows) {
  const auto x = counting(3 * 4), rows = counting(2 * 6);
  const std::vector<std::int32_t> index{2, 0};
  EXPECT_EQ(run([&](Graph& g) {
              return ops::scatter_rows(g, ops::slice(g, g.constant(view(x, {3, 4})), 1, 1, 3),
                                       ops::slice(g, g.constant(view(rows, {2, 6})), 1, 4, 6),
                                       view(index, {2}));
            }),
            (std::vector<float>{10, 11, 5, 6, 4, 5}));
}

TEST(ScatterRows, RunsInPlaceOfXAlone) {
  const auto x = random_floats(5 * 40, 7), rows = random_floats(2 * 40, 8);
  const std::vector<float> zeros(5 * 40);
  const std::vector<std::int32_t> index{4, 1};
  for (const Scatter& scatter : kScatters) {
    Graph g;
    const Tensor copy = ops::add(g, view(x, {5, 40}), view(zeros, {5, 40}));
    g.output(scatter.build(g, copy, view(rows, {2, 40}), view(index, {2})));
    auto plan = std::make_shared<const Plan>(Plan::make(g, Cpu::from_environment()));
    EXPECT_EQ(plan->steps()[0].output.place.offset, plan->steps()[1].output.place.offset);
    Executor executor(2);
    executor.prepare(plan);
    executor.run({});
    const float* y = executor.output(0).as<float>();
    EXPECT_EQ(std::vector<float>(y, y + 200), expected(x, rows, index, 40, scatter.adds));
  }
}

TEST(ScatterRows, RefusesOperandsThatDoNotFit) {
  const std::vector<float> x(12), rows(8);
  const std::vector<std::int32_t> index(2), longer(3), ints(12);
  const TensorView x34 = view(x, {3, 4}), r24 = view(rows, {2, 4}), i2 = view(index, {2});
  expect_usage_error(
      [&](Graph& g) {
        ops::scatter_rows(g, view(ints, {3, 4}), r24, i2);
      },
      "scatter_rows: x is i32[3, 4], expected f32[T, D]");
  expect_usage_error(
      [&](Graph& g) {
        ops::scatter_rows(g, x34, view(rows, {4, 2}), i2);
      },
      "scatter_rows: rows is f32[4, 2], x is f32[3, 4]");
  expect_usage_error([&](Graph& g) { ops::scatter_add_rows(g, x34, r24, view(longer, {3})); },
                     "scatter_add_rows: index is i32[3], rows is f32[2, 4]");
}

}  // namespace
}  // namespace tessera::testing
