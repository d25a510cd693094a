// Weights of every dtype and layout for tests of products, and the products in double.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "ops/ops.h"
#include "quant/half.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {

// A matrix as a file has it, starting `shift` bytes behind an aligned address, and the numbers it stands for.
struct FileWeight {
  std::vector<std::byte> bytes;
  std::vector<float> values;
  TensorView view;

  FileWeight(DType dtype, const Shape& shape, unsigned seed, std::size_t shift = 0)
      : values(random_floats(shape.elements(), seed)) {
    const auto size = static_cast<std::size_t>(info(dtype).block_bytes);
    bytes.resize(values.size() * size + shift);
    for (std::size_t i = 0; i < values.size(); ++i) {
      float& value = values[i];
      std::uint16_t half = 0;
      if (dtype == DType::kF16) value = quant::f16_to_f32(half = quant::f32_to_f16(value));
      if (dtype == DType::kBF16) value = quant::bf16_to_f32(half = quant::f32_to_bf16(value));
      std::memcpy(&bytes[shift + i * size], dtype == DType::kF32 ? static_cast<void*>(&value) : &half, size);
    }
    view = TensorView(dtype, shape, bytes.data() + shift);
  }
};

// What a product may be off by: rounding of K products and sums and of the bias, reliability.md 2.2 C.
struct Product {
  std::vector<float> y;
  std::vector<double> bound;

  Product(const std::vector<float>& x, const std::vector<float>& w, const std::vector<float>& bias,
          std::int64_t rows, std::int64_t n, std::int64_t k) {
    const double unit = static_cast<double>(k + 2) * 0x1p-24;
    for (std::int64_t m = 0; m < rows; ++m) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = bias.empty() ? 0 : double{bias[static_cast<std::size_t>(j)]}, size = std::abs(sum);
        for (std::int64_t i = 0; i < k; ++i) {
          const double product =
              double{x[static_cast<std::size_t>(m * k + i)]} * double{w[static_cast<std::size_t>(j * k + i)]};
          sum += product;
          size += std::abs(product);
        }
        y.push_back(static_cast<float>(sum));
        bound.push_back(unit * size);
      }
    }
  }

  void expect(const std::vector<float>& actual) const {
    ASSERT_EQ(actual.size(), y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_LE(std::abs(double{actual[i]} - double{y[i]}), bound[i]) << "at " << i;
    }
  }
};

}  // namespace tessera::testing
