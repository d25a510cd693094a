// Each kernel by itself: what lies around x and y may neither be used nor written.
#include <limits>

#include "ops/matmul/kernels.h"
#include "ops/matmul/pack.h"
#include "tests/ops/blocks.h"
#include "tests/ops/weights.h"

namespace tessera::testing {
namespace {

struct Kernel {
  IsaLevel level;
  std::string format, name;
  const ops::MatmulTiling& tiling;
  void (*run)(const ops::MatmulTile&) noexcept;
};

const Kernel kKernels[] = {
#define TESSERA_KERNEL(level, function, format, takes, tiling) \
  {IsaLevel::level, #format, #function, ops::tiling, ops::function},
#include "ops/matmul/kernels.inc"
#undef TESSERA_KERNEL
};

constexpr float kGuard = 12345.0f;
constexpr std::int64_t kMargin = 24, kGap = 5;

// The outputs; around them the guards.
std::vector<float> inside(const std::vector<float>& y, std::int64_t rows, std::int64_t n) {
  std::vector<float> outputs;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(y.size()); ++i) {
    const std::int64_t row = (i - kMargin) / (n + kGap), column = (i - kMargin) % (n + kGap);
    if (i >= kMargin && row < rows && column < n) {
      outputs.push_back(y[static_cast<std::size_t>(i)]);
    } else {
      EXPECT_EQ(y[static_cast<std::size_t>(i)], kGuard) << "at " << i;
    }
  }
  return outputs;
}

void expect_inside(const Kernel& kernel, std::int64_t rows, std::int64_t n, std::int64_t k) {
  SCOPED_TRACE(kernel.name + " rows " + std::to_string(rows) + " n " + std::to_string(n) + " k " +
               std::to_string(k));
  const DType dtype = kernel.format.starts_with("kBf16")  ? DType::kBF16
                      : kernel.format.starts_with("kF16") ? DType::kF16
                                                          : DType::kF32;
  const FileWeight w(dtype, {n, k}, 1);
  const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
  const TensorView& weight = kernel.format.ends_with("Panels") ? packed.view : w.view;
  const auto values = random_floats(rows * k, 2), bias = random_floats(n, 3);
  const std::int64_t x_stride = k + 7, y_stride = n + kGap;
  std::vector<float> x(static_cast<std::size_t>(2 * kMargin + rows * x_stride),
                       std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(values.begin() + r * k, k, x.begin() + kMargin + r * x_stride);
  }
  std::vector<float> y(static_cast<std::size_t>(2 * kMargin + rows * y_stride), kGuard);
  const Buffer workspace = Buffer::allocate(kernel.tiling.workspace({rows, n, k}) + 64);
  kernel.run({.x = x.data() + kMargin,
              .w = weight.data,
              .bias = bias.data(),
              .y = y.data() + kMargin,
              .workspace = workspace.data(),
              .x_stride = x_stride,
              .y_stride = y_stride,
              .w_stride = ops::weight_stride(weight),
              .rows = rows,
              .columns = n,
              .k = k});
  const bool rounds = kernel.format.ends_with("Panels") && rounds_to_bf16(kernel.level);
  Product(as_multiplied(values, rounds), as_multiplied(w.values, rounds), bias, rows, n, k)
      .expect(inside(y, rows, n));
}

void expect_blocks_inside(const Kernel& kernel, DType dtype, std::int64_t rows, std::int64_t n) {
  SCOPED_TRACE(kernel.name + " rows " + std::to_string(rows) + " n " + std::to_string(n));
  const std::int64_t k = 512, groups = k / 32, x_stride = groups + 1, y_stride = n + kGap;
  const BlockWeight w = BlockWeight::encoded(dtype, random_floats(n * k, 1), n, k);
  const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
  const auto values = random_floats(rows * k, 2), bias = random_floats(n, 3);
  const auto codes = quantized(values);
  ops::ActivationGroup nan{};
  nan.d = nan.sum = std::numeric_limits<float>::quiet_NaN();
  std::vector<ops::ActivationGroup> x(static_cast<std::size_t>(2 + rows * x_stride), nan);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(codes.begin() + r * groups, groups, x.begin() + 1 + r * x_stride);
  }
  std::vector<float> y(static_cast<std::size_t>(2 * kMargin + rows * y_stride), kGuard);
  const Buffer workspace = Buffer::allocate(kernel.tiling.workspace({rows, n, k}) + 64);
  kernel.run({.x = x.data() + 1,
              .w = packed.view.data,
              .bias = bias.data(),
              .y = y.data() + kMargin,
              .workspace = workspace.data(),
              .x_stride = x_stride,
              .y_stride = y_stride,
              .w_stride = ops::weight_stride(packed.view),
              .rows = rows,
              .columns = n,
              .k = k});
  Bounded(w, values, bias, kernel.level == IsaLevel::kAmx).expect(inside(y, rows, n));
}

TEST(MatmulKernels, StayInsideTheirTile) {
  const Cpu cpu = Cpu::from_environment();
  for (const Kernel& kernel : kKernels) {
    if (!cpu.has(kernel.level) || kernel.format.starts_with("kQ"))
      continue;  // blocks: matmul_blocks_test.cpp
    for (const std::int64_t n : {1, 15, 16, 17, 33, 64, 79, 130}) {
      for (const std::int64_t k : {1, 2, 15, 31, 256, 257, 300}) {
        for (const std::int64_t rows : {1, 2, 13}) expect_inside(kernel, rows, n, k);
      }
    }
    for (std::int64_t rows = 1; rows <= 30; ++rows) expect_inside(kernel, rows, 77, 37);
    for (const std::int64_t k : {512, 513, 545, 1025}) expect_inside(kernel, 15, 70, k);
  }
}

TEST(MatmulKernels, OfBlocksStayInsideTheirTile) {
  const Cpu cpu = Cpu::from_environment();
  for (const Kernel& kernel : kKernels) {
    if (!cpu.has(kernel.level) || !kernel.format.starts_with("kQ")) continue;
    const auto dtype = std::find_if(std::begin(kBlockDTypes), std::end(kBlockDTypes), [&](DType type) {
      return kernel.name.starts_with("matmul_" + std::string(info(type).name));
    });
    for (const std::int64_t n : {1, 7, 15, 17, 33, 79}) {
      for (const std::int64_t rows : {1, 3, 14}) expect_blocks_inside(kernel, *dtype, rows, n);
    }
    for (std::int64_t rows = 1; rows <= 26; ++rows) expect_blocks_inside(kernel, *dtype, rows, 21);
  }
}

}  // namespace
}  // namespace tessera::testing
