#include "tensor/shape.h"

#include <gtest/gtest.h>

#include "tensor/error.h"
#include "tensor/tensor_view.h"

namespace tessera {
namespace {

void expect_refused(const std::vector<std::int64_t>& dims, const std::string& message) {
  try {
    const Shape shape{std::span<const std::int64_t>(dims)};
    ADD_FAILURE() << shape.to_string();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.what(), message);
  }
}

TEST(Shape, CountsElementsAndRows) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.back(), 4);
  EXPECT_EQ(shape.back(1), 3);
  EXPECT_EQ(shape.to_string(), "[2, 3, 4]");
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ(Shape().rows(), 1);
  EXPECT_EQ(Shape().to_string(), "[]");
  EXPECT_EQ((Shape{5, 0}.elements()), 0);
}

TEST(Shape, ComparesRankAndExtents) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2}), (Shape{2, 0}));
}

TEST(Shape, RefusesWhatCannotBeAddressed) {
  constexpr std::int64_t k2To30 = 1 << 30;
  expect_refused({1, 1, 1, 1, 1, 1, 1}, "shape: too many dimensions (got 7, limit 6)");
  expect_refused({2, -1}, "shape: size overflows or is negative at extent -1");
  expect_refused({k2To30, k2To30, 2}, "shape: size overflows or is negative at extent 2");
  expect_refused({INT64_MAX}, "shape: size overflows or is negative at extent 9223372036854775807");
  // safetensors-cpp took these for 4 elements (reliability.md 1.2).
  expect_refused({4194305, 4194305, 211106198978564},
                 "shape: size overflows or is negative at extent 211106198978564");
  // A zero extent must not hide the others.
  expect_refused({0, INT64_MAX, 4}, "shape: size overflows or is negative at extent 9223372036854775807");
  EXPECT_EQ((Shape{k2To30, k2To30}.elements()), k2To30 * k2To30);
}

TEST(DenseBytes, MultipliesElementsAndSize) {
  EXPECT_EQ(dense_bytes(DType::kF32, {3, 5}), 60);
  EXPECT_EQ(dense_bytes(DType::kBF16, {3, 5}), 30);
  EXPECT_EQ(dense_bytes(DType::kI32, Shape()), 4);
  EXPECT_EQ(dense_bytes(DType::kF16, {3, 0}), 0);
}

TEST(TensorDesc, DenseStridesAreBytes) {
  const TensorDesc desc = TensorDesc::dense(DType::kF16, {2, 3, 4});
  EXPECT_EQ(desc.strides, (Strides{24, 8, 2, 0, 0, 0}));
  EXPECT_TRUE(desc.is_dense());
  TensorDesc part = desc;
  part.shape = {2, 2, 4};
  EXPECT_FALSE(part.is_dense());
  TensorDesc packed = desc;
  packed.layout = 1;
  EXPECT_FALSE(packed.is_dense());
}

TEST(DType, NamesLeadBack) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kU8}) {
    EXPECT_EQ(dtype_from_name(info(type).name), type);
  }
  EXPECT_FALSE(dtype_from_name("f33"));
}

}  // namespace
}  // namespace tessera
