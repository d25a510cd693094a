#include <cstring>

#include "tensor/error.h"
#include "tests/ops/weights.h"

namespace tessera::testing {
namespace {

TEST(Embedding, ReadsRowsOfEveryTableExactly) {
  const std::vector<std::int32_t> ids{32, 0, 17, 0, 15, 16};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const std::int64_t columns : {1, 7, 64}) {
      const FileWeight table(dtype, {33, columns}, 1);
      const ops::PackedWeight packed = ops::pack_weight(table.view, 1);
      std::vector<float> expected;
      for (const std::int32_t id : ids) {
        const auto row = table.values.begin() + id * columns;
        expected.insert(expected.end(), row, row + columns);
      }
      for (const TensorView* t : {static_cast<const TensorView*>(&table.view), &packed.view}) {
        SCOPED_TRACE(std::string(info(dtype).name) + " layout " + std::to_string(t->layout));
        EXPECT_EQ(run([&](Graph& g) { return ops::embedding(g, *t, view(ids, {6})); }), expected);
      }
    }
  }
}

TEST(Embedding, GivesNaNForAnIdOutsideTheTable) {
  const FileWeight table(DType::kBF16, {5, 3}, 1);
  const std::vector<std::int32_t> ids{-1, 4, 5, 2147483647};
  const auto y = run([&](Graph& g) { return ops::embedding(g, table.view, view(ids, {4})); });
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 3 != 1) << "at " << i;
}

std::string error_of(const TensorView& table, const TensorView& ids) {
  Graph g;
  try {
    ops::embedding(g, table, ids);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.what();
  }
  return "no error";
}

TEST(Embedding, RefusesOperandsThatDoNotFit) {
  const std::vector<float> table(6);
  const std::vector<std::int32_t> ids(2);
  EXPECT_EQ(
      error_of(view(table, {6}), view(ids, {2})),
      "embedding: table is f32[6], expected a matrix of f32, f16 or bf16, or one packed by pack_weight");
  EXPECT_EQ(error_of(view(table, {2, 3}), view(ids, {1, 2})),
            "embedding: ids is i32[1, 2], expected dense i32[T]");
  EXPECT_EQ(error_of(view(table, {2, 3}), view(table, {6})),
            "embedding: ids is f32[6], expected dense i32[T]");
}

}  // namespace
}  // namespace tessera::testing
