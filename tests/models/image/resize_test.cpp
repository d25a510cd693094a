#include "models/image/resize.h"

#include "tests/models/image/pictures.h"

namespace tessera {
namespace {

constexpr ResizeRule kPublished{65536, 16777216, 32};

ImageSize resized(int height, int width, const ResizeRule& rule = kPublished) {
  return smart_resize({width, height}, rule);
}

ImageSize high_wide(int height, int width) { return {width, height}; }

TEST(SmartResize, GivesTheSpecificationsVectors) {
  EXPECT_EQ(resized(1365, 2048), high_wide(1376, 2048));
  EXPECT_EQ(resized(480, 640), high_wide(480, 640));
  EXPECT_EQ(resized(100, 100), high_wide(256, 256));
  EXPECT_EQ(resized(80, 1000), high_wide(96, 928));
  EXPECT_EQ(resized(144, 2000), high_wide(128, 1984));
  EXPECT_EQ(resized(31, 639), high_wide(64, 1184));
  EXPECT_EQ(resized(5000, 5000), high_wide(4096, 4096));
  EXPECT_EQ(resized(3000, 7000), high_wide(2656, 6240));
  EXPECT_EQ(resized(1080, 1920), high_wide(1088, 1920));
  EXPECT_EQ(resized(8000, 50), high_wide(8000, 64));
  EXPECT_EQ(resized(1, 200), high_wide(32, 3648));
  EXPECT_EQ(resized(10, 10), high_wide(256, 256));
  EXPECT_EQ(resized(31, 639, {4 * 1024, 20 * 1024, 32}), high_wide(32, 640));
  EXPECT_EQ(resized(1, 1, {4096, 65536, 32}), high_wide(64, 64));
}

// reliability.md §1.7: without the clamp these become (0, 3584) and (0, 896).
TEST(SmartResize, NeverGivesLessThanOneFactor) {
  EXPECT_EQ(resized(32, 6368, {4096, 65536, 32}), high_wide(32, 3584));
  EXPECT_EQ(resized(32, 6368, {1024, 4096, 32}), high_wide(32, 896));
}

void expect_error(ErrorCode code, ImageSize size, const ResizeRule& rule, const std::string& reason) {
  try {
    smart_resize(size, rule);
    ADD_FAILURE() << "accepted, expected: " << reason;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    EXPECT_THAT(e.what(), ::testing::HasSubstr(reason));
  }
}

TEST(SmartResize, RejectsThinnerThan200ToOne) {
  EXPECT_NO_THROW(resized(2, 400));
  expect_error(ErrorCode::kInput, {1, 201}, kPublished, "aspect ratio 201, limit 200");
  expect_error(ErrorCode::kInput, {1201, 6}, kPublished, "aspect ratio 200.2, limit 200");
  expect_error(ErrorCode::kInput, {200001, 1000}, kPublished, "aspect ratio 200.1, limit 200");
}

TEST(SmartResize, RejectsRulesOutOfRange) {
  expect_error(ErrorCode::kUsage, {0, 5}, kPublished, "size: a side is not positive");
  expect_error(ErrorCode::kUsage, {5, 5}, {65536, 16777216, 0},
               "factor: out of range (got 0, expected 1 to 4096)");
  expect_error(ErrorCode::kUsage, {5, 5}, {2, 1, 32}, "(got 2 and 1, expected 1 <= min <= max <= 2^40)");
  expect_error(ErrorCode::kUsage, {5, 5}, {0, 1, 32}, "(got 0 and 1");
}

TEST(ResizeBicubic, LeavesAPictureOfThatSizeAlone) {
  const Image image{2, 1, {1, 2, 3, 4, 5, 6}, {}};
  EXPECT_EQ(resize_bicubic(image, {2, 1}).rgb, image.rgb);
}

TEST(ResizeBicubic, RejectsSizesThatAreNotPositiveAndPixelsThatDoNotFit) {
  const Image image{2, 1, {1, 2, 3, 4, 5, 6}, {}};
  EXPECT_THROW(resize_bicubic(image, {0, 1}), Error);
  EXPECT_THROW(resize_bicubic(Image{2, 2, image.rgb, {}}, {4, 4}), Error);
}

}  // namespace
}  // namespace tessera
