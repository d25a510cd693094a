#include <gmock/gmock.h>

#include <numeric>

#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

// Samples become the numbers they are, and 1000 more for each channel after the first.
std::vector<float> numbered_levels() {
  std::vector<float> levels(3 * 256);
  for (std::size_t i = 0; i < levels.size(); ++i) levels[i] = static_cast<float>(i / 256 * 1000 + i % 256);
  return levels;
}

std::vector<float> patches(const std::vector<std::uint8_t>& samples, const Shape& shape,
                           const ops::PatchOptions& options = {}) {
  EXPECT_EQ(static_cast<std::int64_t>(samples.size()), shape.elements());
  const std::vector<float> levels = numbered_levels();
  return run([&](Graph& g) {
    return ops::image_patches(g, TensorView(DType::kU8, shape, samples.data()), view(levels, {3, 256}),
                              options);
  });
}

// spec/qwen3-vl.md §3.6: the (row, column) of each of the 24 patches of a 4x6 grid.
TEST(ImagePatches, ComeInWindowsOfTheMerge) {
  std::vector<std::uint8_t> samples(64 * 96 * 3);
  for (std::size_t y = 0; y < 64; ++y) {
    for (std::size_t x = 0; x < 96; ++x)
      samples[(y * 96 + x) * 3] = static_cast<std::uint8_t>(y / 16 * 10 + x / 16);
  }
  const auto y = patches(samples, {1, 64, 96, 3});
  ASSERT_EQ(y.size(), 24u * 1536);
  std::vector<float> order;
  for (std::size_t row = 0; row < 24; ++row) order.push_back(y[row * 1536]);
  EXPECT_THAT(order, ::testing::ElementsAre(0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15, 20, 21, 30, 31, 22, 23,
                                            32, 33, 24, 25, 34, 35));
}

// Column c · 512 + frame · 256 + y · 16 + x.
TEST(ImagePatches, HoldChannelsThenFramesThenPixels) {
  std::vector<std::uint8_t> samples(2 * 32 * 32 * 3);
  samples[(3 * 32 + 5) * 3 + 1] = 255;
  samples[((32 + 7) * 32 + 2) * 3 + 2] = 254;
  const auto y = patches(samples, {2, 32, 32, 3});
  for (std::size_t i = 0; i < y.size(); ++i) {
    const float channel = static_cast<float>(i % 1536 / 512 * 1000);
    const float bright = i == 512 + 3 * 16 + 5 ? 255.0f : i == 2 * 512 + 256 + 7 * 16 + 2 ? 254.0f : 0.0f;
    ASSERT_EQ(y[i], channel + bright) << "at " << i;
  }
}

TEST(ImagePatches, RepeatTheLastFrameOfAnOddClip) {
  std::vector<std::uint8_t> samples(5 * 8 * 12 * 3);
  std::iota(samples.begin(), samples.end(), std::uint8_t{0});
  const ops::PatchOptions options{.patch = 2, .depth = 3, .merge = 2};
  const auto odd = patches(samples, {5, 8, 12, 3}, options);
  samples.insert(samples.end(), samples.end() - 8 * 12 * 3, samples.end());
  EXPECT_EQ(odd, patches(samples, {6, 8, 12, 3}, options));
}

TEST(ImagePatches, RefuseOperandsThatDoNotFit) {
  const std::vector<std::uint8_t> samples(32 * 48 * 3);
  const std::vector<float> levels(3 * 256);
  const auto refused = [&](const Shape& shape, const Shape& levels_shape, const ops::PatchOptions& options,
                           const std::string& message) {
    expect_usage_error(
        [&](Graph& g) {
          ops::image_patches(g, TensorView(DType::kU8, shape, samples.data()), view(levels, levels_shape),
                             options);
        },
        "image_patches: " + message);
  };
  refused({1, 32, 48, 3}, {3, 256}, {},
          "samples is u8[1, 32, 48, 3], expected dense u8 [F, y, x, c], y and x multiples of 32");
  refused({0, 32, 32, 3}, {3, 256}, {},
          "samples is u8[0, 32, 32, 3], expected dense u8 [F, y, x, c], y and x multiples of 32");
  refused({1, 32, 32, 3}, {768}, {}, "levels is f32[768], expected dense f32[3, 256]");
  refused({1, 32, 32, 3}, {3, 256}, {.depth = 0}, "patch, depth or merge is not positive");
}

}  // namespace
}  // namespace tessera::testing
