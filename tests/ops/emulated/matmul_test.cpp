// The kernels of products whose units this machine may lack, against plain C++ in the place of these units.
#include "ops/matmul/kernels.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <string>

#include "ops/matmul/pack.h"
#include "tests/ops/blocks.h"
#include "tests/ops/emulated/emulated_test.h"
#include "tests/ops/emulated/units.h"
#include "tests/ops/weights.h"

namespace tessera::testing {
namespace {

// Those that this CPU can run.
std::vector<emulated::MatmulKernel> kernels(bool blocks) {
  const Cpu cpu = Cpu::from_environment();
  std::vector<emulated::MatmulKernel> all;
  for (const emulated::MatmulKernel& kernel : emulated::matmul_kernels()) {
    const bool has_blocks = std::string_view(kernel.format).starts_with("kQ");
    if (cpu.has(level_of(kernel.base)) && has_blocks == blocks) all.push_back(kernel);
  }
  return all;
}

DType block_dtype(const emulated::MatmulKernel& kernel) {
  return *std::find_if(std::begin(kBlockDTypes), std::end(kBlockDTypes), [&](DType type) {
    return std::string_view(kernel.name).starts_with("matmul_" + std::string(info(type).name) + "_x86");
  });
}

TEST(EmulatedMatmul, PrintsWhatIsEmulated) { print_emulated("matmul", emulated::matmul_kernels()); }

constexpr float kGuard = 12345.0f;

// What is done with the sums.
struct Then {
  ops::MatmulThen what = ops::MatmulThen::kNothing;
  std::vector<float> other{};
};

// One tile, with guards around y and nothing usable around x.
template <typename Input>
std::vector<float> run_tile(const emulated::MatmulKernel& kernel, const std::vector<Input>& values,
                            Input around, const TensorView& w, const std::vector<float>& bias,
                            const Then& then = {}) {
  constexpr std::int64_t kMargin = 24, kGap = 5;
  const std::int64_t n = w.shape[0], k = w.shape[1];
  const std::int64_t x_row = std::is_same_v<Input, float> ? k : k / ops::kGroupElements;
  const std::int64_t rows = static_cast<std::int64_t>(values.size()) / x_row;
  const std::int64_t x_stride = x_row + 3, y_stride = n + kGap;
  std::vector<Input> x(static_cast<std::size_t>(2 * kMargin + rows * x_stride), around);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(values.begin() + r * x_row, x_row, x.begin() + kMargin + r * x_stride);
  }
  std::vector<float> y(static_cast<std::size_t>(2 * kMargin + rows * y_stride), kGuard);
  const std::size_t bytes = kernel.workspace(rows, n, k);
  const Buffer workspace = Buffer::allocate(bytes + 64);
  std::fill_n(workspace.data(), bytes + 64, std::byte{0xFF});  // NaN
  std::vector<float> separate(y.size());
  std::vector<float>& other = then.what == ops::MatmulThen::kSiluMul ? y : separate;  // as the step has it
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(then.other.size()); ++i) {
    other[static_cast<std::size_t>(kMargin + i / n * y_stride + i % n)] =
        then.other[static_cast<std::size_t>(i)];
  }
  const ops::MatmulTile tile{.x = x.data() + kMargin,
                             .w = w.data,
                             .bias = bias.empty() ? nullptr : bias.data(),
                             .other = other.data() + kMargin,
                             .y = y.data() + kMargin,
                             .workspace = workspace.data(),
                             .x_stride = x_stride,
                             .y_stride = y_stride,
                             .w_stride = ops::weight_stride(w),
                             .rows = rows,
                             .columns = n,
                             .k = k,
                             .then = then.what};
  kernel.run(&tile);
  EXPECT_FALSE(emulated::tiles_in_use());
  EXPECT_TRUE(std::all_of(workspace.data() + bytes, workspace.data() + bytes + 64, [](std::byte b) {
    return b == std::byte{0xFF};
  })) << "written behind the workspace";
  std::vector<float> inside;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(y.size()); ++i) {
    const std::int64_t at = i - kMargin;
    if (at >= 0 && at / y_stride < rows && at % y_stride < n) {
      inside.push_back(y[static_cast<std::size_t>(i)]);
    } else {
      EXPECT_EQ(y[static_cast<std::size_t>(i)], kGuard) << "at " << i;
    }
  }
  return inside;
}

std::vector<float> run_blocks(const emulated::MatmulKernel& kernel, const std::vector<float>& x,
                              const TensorView& w, const std::vector<float>& bias, const Then& then = {}) {
  ops::ActivationGroup nan{};
  nan.d = nan.sum = std::numeric_limits<float>::quiet_NaN();
  return run_tile(kernel, quantized(x), nan, w, bias, then);
}

std::string trace(const emulated::MatmulKernel& kernel, std::int64_t rows, std::int64_t n, std::int64_t k) {
  return std::string(kernel.name) + " rows " + std::to_string(rows) + " n " + std::to_string(n) + " k " +
         std::to_string(k);
}

bool has_tiles(const emulated::MatmulKernel& kernel) { return level_of(kernel.level) == IsaLevel::kAmx; }

// Integers and sums of integers, exactly; with tiles of the weights as bf16 has them, integers too.
void expect_exact(const emulated::MatmulKernel& kernel, std::int64_t rows, std::int64_t n, std::int64_t k) {
  SCOPED_TRACE(trace(kernel, rows, n, k));
  const DType dtype = block_dtype(kernel);
  const BlockWeight w = BlockWeight::random(dtype, n, k, 1, {0x3C00, 0xBC00});
  const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
  const auto x = integers(rows * k, 2), y = run_blocks(kernel, x, packed.view, {});
  expect_exact_sums(w, x, y, has_tiles(kernel));
}

void expect_bounded(const emulated::MatmulKernel& kernel, std::int64_t rows, std::int64_t n, std::int64_t k) {
  SCOPED_TRACE(trace(kernel, rows, n, k));
  const BlockWeight w = BlockWeight::encoded(block_dtype(kernel), random_floats(n * k, 1), n, k);
  const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
  const auto x = random_floats(rows * k, 2), bias = random_floats(n, 3);
  Bounded(w, x, bias, has_tiles(kernel)).expect(run_blocks(kernel, x, packed.view, bias));
}

const std::int64_t kTails[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33, 48};

TEST(EmulatedMatmul, OfBlocksGivesExactSumsOfIntegers) {
  for (const emulated::MatmulKernel& kernel : kernels(true)) {
    const std::int64_t block = info(block_dtype(kernel)).block_elems;
    for (const std::int64_t rows : kTails) expect_exact(kernel, rows, 17, block);
    for (const std::int64_t n : kTails) expect_exact(kernel, 3, n, block);
    for (const std::int64_t k : {32, 64, 96, 224, 256, 288, 512}) {
      if (k % block == 0) expect_exact(kernel, 5, 33, k);
    }
  }
}

TEST(EmulatedMatmul, OfBlocksMatchesDoubleWithinItsRounding) {
  for (const emulated::MatmulKernel& kernel : kernels(true)) {
    for (const std::int64_t n : {15, 64, 65, 130}) expect_bounded(kernel, 19, n, 512);
    expect_bounded(kernel, 2, 16, 768);
    expect_bounded(kernel, 48, 33, 512);
  }
}

TEST(EmulatedMatmul, OfBlocksGivesARowTheSameBitsAmongAnyOthers) {
  for (const emulated::MatmulKernel& kernel : kernels(true)) {
    SCOPED_TRACE(kernel.name);
    constexpr std::int64_t kRows = 33, kN = 70, kK = 512;
    const BlockWeight w = BlockWeight::encoded(block_dtype(kernel), random_floats(kN * kK, 1), kN, kK);
    const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
    const auto x = random_floats(kRows * kK, 2), bias = random_floats(kN, 3);
    const auto all = run_blocks(kernel, x, packed.view, bias);
    for (const std::int64_t rows : {1, 2, 7, 16, 20}) {
      const auto y = run_blocks(kernel, {x.end() - rows * kK, x.end()}, packed.view, bias);
      EXPECT_TRUE(std::equal(y.begin(), y.end(), all.end() - rows * kN)) << rows << " rows";
    }
  }
}

TEST(EmulatedMatmul, OfBlocksKeepsNaNInItsRowAndColumn) {
  for (const emulated::MatmulKernel& kernel : kernels(true)) {
    SCOPED_TRACE(kernel.name);
    const DType dtype = block_dtype(kernel);
    BlockWeight w = BlockWeight::encoded(dtype, random_floats(20 * 256, 1), 20, 256);
    w.set_half(w.bytes.size() / 20 * 6 + BlockBytes(dtype).d, 0x7E00);
    const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
    auto x = random_floats(9 * 256, 2);
    x[2 * 256 + 200] = std::numeric_limits<float>::quiet_NaN();
    x[7 * 256 + 1] = -std::numeric_limits<float>::infinity();
    const auto y = run_blocks(kernel, x, packed.view, {});
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(std::isnan(y[i]), i / 20 == 2 || i / 20 == 7 || i % 20 == 6) << "at " << i;
    }
  }
}

// ---- weights of bf16 and f16 ----

DType number_dtype(const emulated::MatmulKernel& kernel) {
  return kernel.format == std::string_view("kF16Panels") ? DType::kF16 : DType::kBF16;
}

void expect_product(const emulated::MatmulKernel& kernel, std::int64_t rows, std::int64_t n, std::int64_t k) {
  SCOPED_TRACE(trace(kernel, rows, n, k));
  const FileWeight w(number_dtype(kernel), {n, k}, 1);
  const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
  const auto x = random_floats(rows * k, 2), bias = random_floats(n, 3);
  const auto y = run_tile(kernel, x, std::numeric_limits<float>::quiet_NaN(), packed.view, bias);
  Product(as_bf16(x), as_bf16(w.values), bias, rows, n, k).expect(y);
}

// `run` makes a tile of rows x n.
void expect_finishes(std::int64_t rows, std::int64_t n,
                     const std::function<std::vector<float>(const Then&)>& run) {
  const auto other = random_floats(rows * n, 4), sums = run({});
  auto expected = sums;
  for (std::size_t i = 0; i < sums.size(); ++i) expected[i] = other[i] + sums[i];
  EXPECT_EQ(run({ops::MatmulThen::kAdd, other}), expected);
  const auto tanh = run({ops::MatmulThen::kGeluTanh}), erf = run({ops::MatmulThen::kGeluErf});
  const auto gated = run({ops::MatmulThen::kSiluMul, other});
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double y = sums[i], bound = 1e-6 * std::max(1.0, std::abs(y));
    const double u = std::sqrt(2 / std::numbers::pi) * (y + 0.044715 * y * y * y);
    ASSERT_NEAR(tanh[i], 0.5 * y * (1 + std::tanh(u)), bound);
    ASSERT_NEAR(erf[i], 0.5 * y * (1 + std::erf(y / std::numbers::sqrt2)), bound);
    ASSERT_NEAR(gated[i], other[i] / (1 + std::exp(-double{other[i]})) * y, bound);
  }
}

TEST(EmulatedMatmul, FinishesItsSums) {
  const std::int64_t rows = 18, n = 70;
  for (const bool blocks : {false, true}) {
    for (const emulated::MatmulKernel& kernel : kernels(blocks)) {
      const std::int64_t k = blocks ? 512 : 300;
      SCOPED_TRACE(trace(kernel, rows, n, k));
      const auto x = random_floats(rows * k, 2), bias = random_floats(n, 3);
      if (blocks) {
        const BlockWeight w = BlockWeight::encoded(block_dtype(kernel), random_floats(n * k, 1), n, k);
        const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
        expect_finishes(rows, n,
                        [&](const Then& then) { return run_blocks(kernel, x, packed.view, bias, then); });
      } else {
        const FileWeight w(number_dtype(kernel), {n, k}, 1);
        const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
        expect_finishes(rows, n,
                        [&](const Then& then) { return run_tile(kernel, x, 0.0f, packed.view, bias, then); });
      }
    }
  }
}

TEST(EmulatedMatmul, OfNumbersMatchesDoubleForEveryTail) {
  for (const emulated::MatmulKernel& kernel : kernels(false)) {
    for (const std::int64_t rows : kTails) expect_product(kernel, rows, 17, 33);
    for (const std::int64_t n : kTails) expect_product(kernel, 3, n, 31);
    for (const std::int64_t n : {48, 64, 65, 129}) expect_product(kernel, 5, n, 40);
    for (std::int64_t k = 1; k <= 67; ++k) expect_product(kernel, 2, 16, k);
    for (const std::int64_t k : {255, 256, 257, 287, 289, 511, 512, 513, 515, 600})
      expect_product(kernel, 18, 70, k);
  }
}

TEST(EmulatedMatmul, OfNumbersGivesARowTheSameBitsAmongAnyOthers) {
  for (const emulated::MatmulKernel& kernel : kernels(false)) {
    SCOPED_TRACE(kernel.name);
    constexpr std::int64_t kRows = 33, kN = 70, kK = 600;
    const FileWeight w(number_dtype(kernel), {kN, kK}, 1);
    const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
    const auto x = random_floats(kRows * kK, 2), bias = random_floats(kN, 3);
    const auto product = [&](std::int64_t rows) {
      return run_tile(kernel, std::vector<float>(x.end() - rows * kK, x.end()), 0.0f, packed.view, bias);
    };
    const auto all = product(kRows);
    for (const std::int64_t rows : {2, 7, 16, 20}) {
      const auto y = product(rows);
      EXPECT_TRUE(std::equal(y.begin(), y.end(), all.end() - rows * kN)) << rows << " rows";
    }
  }
}

TEST(EmulatedMatmul, OfNumbersLetsNaNAndInfinityThrough) {
  for (const emulated::MatmulKernel& kernel : kernels(false)) {
    SCOPED_TRACE(kernel.name);
    const FileWeight w(number_dtype(kernel), {17, 33}, 1);
    const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
    auto x = random_floats(15 * 33, 2);
    x[4 * 33 + 32] = std::numeric_limits<float>::quiet_NaN();
    x[9 * 33] = std::numeric_limits<float>::infinity();
    const auto y = run_tile(kernel, x, 0.0f, packed.view, {});
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(std::isnan(y[i]), i / 17 == 4) << "at " << i;
      ASSERT_EQ(std::isinf(y[i]), i / 17 == 9) << "at " << i;
    }
  }
}

// What follows a panel's last inputs is the next panel.
TEST(EmulatedMatmul, OfNumbersKeepsNaNOfAWeightInItsColumn) {
  for (const emulated::MatmulKernel& kernel : kernels(false)) {
    for (const std::int64_t k : {1, 31, 33, 256, 259, 512, 515}) {
      SCOPED_TRACE(trace(kernel, 3, 40, k));
      FileWeight w(number_dtype(kernel), {40, k}, 1);
      const std::uint16_t nan = 0x7FC0;
      std::memcpy(&w.bytes[static_cast<std::size_t>(16 * k) * 2], &nan, 2);
      const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
      const auto y = run_tile(kernel, random_floats(3 * k, 2), 0.0f, packed.view, {});
      for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(y[i]), i % 40 == 16) << "at " << i;
    }
  }
}

}  // namespace
}  // namespace tessera::testing
