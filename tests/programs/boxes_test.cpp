#include "examples/qwen3vl/boxes.h"

#include <gmock/gmock.h>

#include "examples/qwen3vl/draw.h"

namespace tessera::programs {
namespace {

using ::testing::ElementsAre;

TEST(Boxes, ScaleFromThousandthsToPixels) {
  const BoxList list = find_boxes(R"([{"bbox_2d": [100, 250, 500, 1000], "label": "a"}])", 640, 480);
  ASSERT_EQ(list.boxes.size(), 1u);
  EXPECT_EQ(list.boxes[0].label, "a");
  EXPECT_THAT(list.boxes[0].corner, ElementsAre(64, 120, 320, 480));
}

TEST(Boxes, AreFoundInFencesProseAndAlone) {
  const std::string box = R"({"bbox_2d": [1, 2, 3, 4], "label": "x"})";
  for (const std::string& text :
       {"[" + box + "]", "```json\n[" + box + "]\n```", "Here {it} is: " + box + ".", box, "[[" + box + "]]",
        R"({"objects": [)" + box + "]}", "[" + box + R"(, {"bbox_2d": [1, 2)", "{ {" + box}) {
    EXPECT_EQ(find_boxes(text, 100, 100).boxes.size(), 1u) << text;
  }
}

TEST(Boxes, LabelIsOptional) {
  const BoxList list =
      find_boxes(R"([{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [1.5, 2, 3, 4], "label": 7}])", 1000, 1000);
  ASSERT_EQ(list.boxes.size(), 2u);
  EXPECT_EQ(list.boxes[0].label, "");
  EXPECT_EQ(list.boxes[1].label, "");
  EXPECT_EQ(list.boxes[1].corner[0], 1.5);
}

TEST(Boxes, BracesInLabelsDoNotConfuse) {
  const BoxList list = find_boxes(R"([{"label": "}]\"{", "bbox_2d": [1, 2, 3, 4]}])", 1000, 1000);
  ASSERT_EQ(list.boxes.size(), 1u);
  EXPECT_EQ(list.boxes[0].label, "}]\"{");
}

TEST(Boxes, AreCutToThePictureAndLeftOutWithoutArea) {
  const BoxList list = find_boxes(
      R"([{"bbox_2d": [-5, 0, 500, 1200]}, {"bbox_2d": [5, 5, 5, 9]}, {"bbox_2d": [9, 5, 5, 9]},
          {"bbox_2d": [1100, 0, 1200, 10]}])",
      100, 100);
  ASSERT_EQ(list.boxes.size(), 1u);
  EXPECT_THAT(list.boxes[0].corner, ElementsAre(0, 0, 50, 100));
  EXPECT_EQ(list.cut, 1);
  EXPECT_EQ(list.dropped, 3);
}

TEST(Boxes, OtherTextHasNone) {
  for (const std::string text :
       {"", "No boxes.", "{", "}{", "[{}]", R"({"bbox_2d": [1, 2, 3]})", R"({"bbox_2d": [1, 2, 3, "4"]})",
        R"({"bbox_2d": [1, 2, 3, 1e999]})", R"({"bbox_2d": {"a": 1}})", R"({"bbox_2d": null})"}) {
    const BoxList list = find_boxes(text, 100, 100);
    EXPECT_TRUE(list.boxes.empty() && list.dropped == 0) << text;
  }
  EXPECT_TRUE(find_boxes(std::string(1 << 18, '{'), 100, 100).boxes.empty());
}

Image grey(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, 128);
  return image;
}

TEST(DrawBoxes, DrawsTheFrameAndNothingInside) {
  Image image = grey(50, 40);
  const std::vector<Box> boxes = {{"", {10, 5, 30, 25}}};
  draw_boxes(image, boxes);
  auto changed = [&](int x, int y) { return image.rgb[static_cast<std::size_t>(y * 50 + x) * 3] != 128; };
  for (int y = 0; y < 40; ++y) {
    for (int x = 0; x < 50; ++x) {
      const bool inside = x >= 10 && x < 30 && y >= 5 && y < 25;
      const bool edge = x == 10 || x == 29 || y == 5 || y == 24;
      EXPECT_EQ(changed(x, y), inside && edge) << x << ", " << y;
    }
  }
}

TEST(DrawBoxes, StaysInsideThePicture) {
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 200}, {2000, 7}}) {
    Image image = grey(width, height);
    const std::size_t size = image.rgb.size();
    const double w = width, h = height;
    const std::vector<Box> boxes = {{std::string(3000, 'W') + "\xc3\xa9\x01\xff", {0, 0, w, h}},
                                    {"label", {w - 0.5, h - 0.5, w, h}}};
    draw_boxes(image, boxes);
    EXPECT_EQ(image.rgb.size(), size);
  }
}

}  // namespace
}  // namespace tessera::programs
