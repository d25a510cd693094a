#include "models/qwen3vl/positions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/golden.h"
#include "tests/models/files/expect_error.h"

namespace tessera::qwen3vl {
namespace {

using ::testing::ElementsAre;

// The ids of the reference data; 0 stands for any text token.
constexpr std::int32_t kImage = 658, kVideo = 659, kVisionStart = 655;

Config config() {
  Config config;
  config.vision.spatial_merge_size = 2;
  config.image_token_id = kImage;
  config.video_token_id = kVideo;
  return config;
}

using Tokens = std::vector<std::int32_t>;

Tokens concat(const std::vector<Tokens>& parts) {
  Tokens out;
  for (const Tokens& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Tokens axis(const Positions& positions, std::size_t index) {
  const std::size_t n = positions.values.size() / 3;
  const auto begin = positions.values.begin() + static_cast<std::ptrdiff_t>(index * n);
  return {begin, begin + static_cast<std::ptrdiff_t>(n)};
}

// spec/qwen3-vl.md §7.1, examples A, B, C.
TEST(Positions, OnePictureBetweenTexts) {
  const Tokens tokens = concat({Tokens(5, 0), Tokens(6, kImage), Tokens(4, 0)});
  const Grid grids[] = {{1, 4, 6}};
  const Positions positions = token_positions(tokens, grids, {}, config());
  EXPECT_THAT(axis(positions, 0), ElementsAre(0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 8, 9, 10, 11));
  EXPECT_THAT(axis(positions, 1), ElementsAre(0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 8, 9, 10, 11));
  EXPECT_THAT(axis(positions, 2), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_EQ(positions.next, 12);
}

TEST(Positions, TwoPicturesOfDifferentSizes) {
  const Tokens tokens =
      concat({Tokens(3, 0), Tokens(4, kImage), Tokens(3, 0), Tokens(2, kImage), Tokens(3, 0)});
  const Grid grids[] = {{1, 4, 4}, {1, 2, 4}};
  const Positions positions = token_positions(tokens, grids, {}, config());
  EXPECT_THAT(axis(positions, 0), ElementsAre(0, 1, 2, 3, 3, 3, 3, 5, 6, 7, 8, 8, 10, 11, 12));
  EXPECT_THAT(axis(positions, 1), ElementsAre(0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 8, 10, 11, 12));
  EXPECT_THAT(axis(positions, 2), ElementsAre(0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_EQ(positions.next, 13);
}

TEST(Positions, ClipIsOnePictureForEachTimeStep) {
  const Tokens tokens =
      concat({Tokens(10, 0), Tokens(4, kVideo), Tokens(8, 0), Tokens(4, kVideo), Tokens(3, 0)});
  const Grid grids[] = {{2, 4, 4}};
  const Positions positions = token_positions(tokens, {}, grids, config());
  EXPECT_THAT(axis(positions, 0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10, 12, 13, 14, 15,
                                              16, 17, 18, 19, 20, 20, 20, 20, 22, 23, 24));
  EXPECT_THAT(axis(positions, 1), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11, 11, 12, 13, 14, 15,
                                              16, 17, 18, 19, 20, 20, 21, 21, 22, 23, 24));
  EXPECT_THAT(axis(positions, 2), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 10, 11, 12, 13, 14, 15,
                                              16, 17, 18, 19, 20, 21, 20, 21, 22, 23, 24));
  EXPECT_EQ(positions.next, 25);
}

struct GoldenCase {
  std::string name;
  Tokens tokens;
  std::vector<Grid> images, videos;
  std::vector<Tokens> positions;
  std::int32_t delta;
};

std::vector<GoldenCase> golden_cases() {
  std::ifstream file(testing::golden("qwen3vl/positions.json"));
  std::vector<GoldenCase> cases;
  const auto grids = [](const nlohmann::json& list) {
    std::vector<Grid> out;
    for (const auto& grid : list) out.push_back({grid[0], grid[1], grid[2]});
    return out;
  };
  for (const auto& entry : nlohmann::json::parse(file)) {
    cases.push_back({entry["name"], entry["token_ids"], grids(entry["image_grid_thw"]),
                     grids(entry["video_grid_thw"]), entry["positions"], entry["rope_delta"]});
  }
  return cases;
}

TEST(Positions, EqualThoseOfTheReference) {
  const auto cases = golden_cases();
  ASSERT_EQ(cases.size(), 30u);
  for (const GoldenCase& golden : cases) {
    SCOPED_TRACE(golden.name);
    const Positions positions = token_positions(golden.tokens, golden.images, golden.videos, config());
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(axis(positions, i), golden.positions[i]);
    EXPECT_EQ(positions.next - static_cast<std::int32_t>(golden.tokens.size()), golden.delta);
  }
}

TEST(Positions, ContinueWhereTheTurnBeforeEnded) {
  for (const GoldenCase& golden : golden_cases()) {
    if (!golden.videos.empty()) continue;
    SCOPED_TRACE(golden.name);
    // Each part ends before a picture, so that part k holds picture k − 1.
    std::int32_t start = 0;
    std::size_t picture = 0;
    for (auto begin = golden.tokens.begin(); begin != golden.tokens.end();) {
      const auto end = std::find(begin + 1, golden.tokens.end(), kVisionStart);
      const std::size_t count = *begin == kVisionStart ? 1 : 0;
      const Positions part = token_positions({begin, end}, std::span(golden.images).subspan(picture, count),
                                             {}, config(), start);
      const auto offset = begin - golden.tokens.begin();
      for (std::size_t i = 0; i < 3; ++i) {
        const auto expected = golden.positions[i].begin() + offset;
        EXPECT_EQ(axis(part, i), Tokens(expected, expected + (end - begin)));
      }
      picture += count;
      start = part.next;
      begin = end;
    }
    EXPECT_EQ(start - static_cast<std::int32_t>(golden.tokens.size()), golden.delta);
  }
}

TEST(Positions, RefusePlaceholdersThatDoNotMatchTheGrids) {  // reliability.md X8
  const Grid one[] = {{1, 4, 4}}, two[] = {{1, 4, 4}, {1, 2, 2}};
  const Tokens four(4, kImage);
  EXPECT_TESSERA_ERROR(token_positions(four, {}, {}, config()), kInput, "image",
                       "got 4 tokens, expected 0 for 0 grids");
  EXPECT_TESSERA_ERROR(token_positions(four, two, {}, config()), kInput,
                       "got 4 tokens, expected 5 for 2 grids");
  EXPECT_TESSERA_ERROR(token_positions(Tokens(4, kVideo), one, {}, config()), kInput, "got 0 tokens");
  EXPECT_TESSERA_ERROR(token_positions(four, one, one, config()), kInput, "video",
                       "got 0 tokens, expected 4");
  EXPECT_TESSERA_ERROR(token_positions(concat({Tokens(3, kImage), {0}, {kImage}}), one, {}, config()), kInput,
                       "image: placeholders of one grid are not together", "4 tokens at token 0");
}

TEST(Positions, RefuseGridsAndStartsOutOfRange) {
  const Tokens tokens(4, kImage);
  for (const Grid grid : {Grid{1, 3, 4}, Grid{1, 4, 0}, Grid{0, 4, 4}, Grid{1, -4, -4}}) {
    const Grid grids[] = {grid};
    EXPECT_TESSERA_ERROR(token_positions(tokens, grids, {}, config()), kUsage, "image: grid ",
                         "merge size 2");
  }
  const Tokens text(2, 0);
  EXPECT_EQ(token_positions(text, {}, {}, config(), INT32_MAX - 2).next, INT32_MAX);
  EXPECT_TESSERA_ERROR(token_positions(text, {}, {}, config(), INT32_MAX - 1), kInput, "2 tokens from");
  EXPECT_TESSERA_ERROR(token_positions(text, {}, {}, config(), -1), kInput, "from position -1");
}

}  // namespace
}  // namespace tessera::qwen3vl
