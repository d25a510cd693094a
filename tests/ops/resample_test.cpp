// What the sums are is held against Pillow's pictures by tests/models/image/golden_test.cpp; here, that every
// level gives the same bytes, and what the op makes of operands that do not fit.
#include <memory>

#include "ops/resample/kernels.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

using Across = void (*)(const ops::ResampleAcrossRows&) noexcept;
using Along = void (*)(const ops::ResampleAlongRow&) noexcept;

struct Row {
  IsaLevel level;
  const char* name;
  Across across = nullptr;
  Along along = nullptr;
  constexpr Row(IsaLevel l, const char* n, Across kernel) : level(l), name(n), across(kernel) {}
  constexpr Row(IsaLevel l, const char* n, Along kernel) : level(l), name(n), along(kernel) {}
};

constexpr Row kRows[] = {
#define TESSERA_KERNEL(level, function, arguments) {IsaLevel::level, #function, ops::function},
#include "ops/resample/kernels.inc"
#undef TESSERA_KERNEL
};

// A buffer of its own, so that sanitizers see what is read beyond.
std::unique_ptr<std::uint8_t[]> random_samples(std::int64_t n, unsigned seed) {
  auto samples = std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(n));
  std::mt19937 engine(seed);
  for (std::int64_t i = 0; i < n; ++i)
    samples[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(engine());
  return samples;
}

// Rows of weights like those of a filter, with negative ones; their sums leave [0, 255] now and then.
std::vector<std::int32_t> random_weights(std::int64_t rows, std::int64_t taps, unsigned seed) {
  std::mt19937 engine(seed);
  const std::int32_t largest = (1 << 23) / static_cast<std::int32_t>(taps);
  std::uniform_int_distribution<std::int32_t> any(-largest / 3, largest - 1);
  std::vector<std::int32_t> weights(static_cast<std::size_t>(rows * taps));
  for (std::int32_t& weight : weights) weight = any(engine);
  return weights;
}

constexpr std::size_t kGuard = 8;
constexpr std::uint8_t kUntouched = 0xA5;

std::vector<std::uint8_t> across(Across kernel, std::int64_t n, std::int64_t taps) {
  const std::int64_t pitch = n + 5;
  const auto x = random_samples((taps - 1) * pitch + n, static_cast<unsigned>(n));
  const auto weights = random_weights(1, taps, static_cast<unsigned>(taps));
  std::vector<std::uint8_t> y(static_cast<std::size_t>(n) + kGuard, kUntouched);
  kernel({x.get(), pitch, n, weights.data(), taps, y.data()});
  return y;
}

// Windows lie anywhere, some at the very ends.
std::vector<std::uint8_t> along(Along kernel, std::int64_t pixels, std::int64_t n, std::int64_t taps) {
  const auto x = random_samples(pixels * 3, static_cast<unsigned>(pixels));
  const auto weights = random_weights(n, taps, static_cast<unsigned>(taps));
  std::vector<std::int32_t> first(static_cast<std::size_t>(n));
  for (std::int64_t o = 0; o < n; ++o) {
    first[static_cast<std::size_t>(o)] =
        static_cast<std::int32_t>(n == 1 ? pixels - taps : o * (pixels - taps) / (n - 1));
  }
  std::vector<std::uint8_t> y(static_cast<std::size_t>(n) * 3 + kGuard, kUntouched);
  kernel({x.get(), pixels, n, first.data(), weights.data(), taps, y.data()});
  return y;
}

TEST(Resample, IsTheSameAtEveryLevel) {
  for (const Row& row : kRows) {
    if (!Cpu::detect().has(row.level)) continue;
    SCOPED_TRACE(row.name);
    for (const std::int64_t taps : {1, 2, 5, 8, 9, 13}) {
      for (const std::int64_t n : {1, 7, 31, 32, 33, 64, 95}) {
        if (row.across) {
          EXPECT_EQ(across(row.across, n, taps), across(ops::resample_across_rows_ref, n, taps)) << n;
        }
        for (const std::int64_t pixels : {taps, taps + 1, taps + 40}) {
          if (row.along) {
            EXPECT_EQ(along(row.along, pixels, n, taps), along(ops::resample_along_row_ref, pixels, n, taps))
                << n << " of " << pixels;
          }
        }
      }
    }
  }
}

TEST(Resample, ReferenceRoundsAndClamps) {
  constexpr std::int32_t kOne = 1 << 22;
  const std::uint8_t x[] = {10, 20, 200, 11, 22, 250};
  const std::int32_t first[] = {0, 0, 0}, weights[] = {kOne / 2, kOne / 2, -kOne, kOne, kOne, kOne};
  std::uint8_t y[9];
  ops::resample_along_row_ref({x, 2, 3, first, weights, 2, y});
  // 10.5 goes up.
  EXPECT_EQ(std::vector<std::uint8_t>(y, y + 9),
            (std::vector<std::uint8_t>{11, 21, 225, 1, 2, 50, 21, 42, 255}));
  ops::resample_across_rows_ref({x, 3, 3, weights, 2, y});
  EXPECT_EQ(std::vector<std::uint8_t>(y, y + 3), (std::vector<std::uint8_t>{11, 21, 225}));
}

std::vector<std::uint8_t> resampled(int axis, const std::vector<std::int32_t>& first) {
  std::vector<std::uint8_t> x(2 * 3 * 3);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(i + 1);
  const std::vector<std::int32_t> weights(first.size() * 2, 1 << 21);
  const auto n = static_cast<std::int64_t>(first.size());
  return run<std::uint8_t>([&](Graph& g) {
    return ops::resample(g, TensorView(DType::kU8, {2, 3, 3}, x.data()), axis, view(first, {n}),
                         view(weights, {n, 2}));
  });
}

TEST(Resample, WindowsOutsideGiveZeros) {
  using Bytes = std::vector<std::uint8_t>;
  EXPECT_EQ(resampled(1, {1}), (Bytes{6, 7, 8, 15, 16, 17}));  // (4 + 7 + 1) / 2 …
  EXPECT_EQ(resampled(1, {1, 2}), Bytes(12));
  EXPECT_EQ(resampled(1, {-1}), Bytes(6));
  EXPECT_EQ(resampled(0, {0}), (Bytes{6, 7, 8, 9, 10, 11, 12, 13, 14}));
  EXPECT_EQ(resampled(0, {0, 1}), Bytes(18));
}

TEST(Resample, RefusesOperandsThatDoNotFit) {
  const std::vector<std::uint8_t> x(36);
  const std::vector<std::int32_t> numbers(8);
  const auto refused = [&](const Shape& shape, int axis, const Shape& first, const Shape& weights,
                           const std::string& message) {
    expect_usage_error(
        [&](Graph& g) {
          ops::resample(g, TensorView(DType::kU8, shape, x.data()), axis,
                        TensorView(DType::kI32, first, numbers.data()),
                        TensorView(DType::kI32, weights, numbers.data()));
        },
        "resample: " + message);
  };
  refused({3, 3, 4}, 0, {4}, {4, 2}, "x is u8[3, 3, 4], expected dense u8 [y, x, 3]");
  refused({3, 4, 3}, 2, {4}, {4, 2}, "axis is 2, expected 0 or 1");
  refused({3, 4, 3}, 0, {2, 2}, {4, 2}, "first is i32[2, 2], expected dense i32 [O]");
  refused({3, 4, 3}, 0, {4}, {2, 4}, "weights is i32[2, 4], expected dense i32 [4, K], K at most 3");
  refused({3, 4, 3}, 0, {2}, {2, 4}, "weights is i32[2, 4], expected dense i32 [2, K], K at most 3");
}

}  // namespace
}  // namespace tessera::testing
