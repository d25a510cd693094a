// Every picture of the golden set gives the reference's pixels, before and after resizing.
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/image/preprocess.h"
#include "models/image/resize.h"
#include "tests/models/image/pictures.h"

namespace tessera {
namespace {

std::vector<nlohmann::json> lines(const std::string& path) {
  std::istringstream text(testing::load(path));
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(text, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

// Big files are left in the shared folder; empty when that is not there.
std::string find(const std::string& name) {
  for (const std::string& path :
       {testing::golden("images/" + name), testing::shared_golden("images/" + name)}) {
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

int largest_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  if (a.rgb.size() != b.rgb.size()) return 256;
  int largest = 0;
  for (std::size_t i = 0; i < a.rgb.size(); ++i) largest = std::max(largest, std::abs(a.rgb[i] - b.rgb[i]));
  return largest;
}

bool readable(const std::string& path) {
  try {
    read_image(path);
    return true;
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("WebP not supported by this build"));
    return false;
  }
}

TEST(Golden, DecodedPixelsAreTheReferences) {
  int compared = 0;
  for (const auto& row : lines(testing::golden("images/images.jsonl"))) {
    const std::string file = row["file"], path = find(file);
    if (path.empty() || !readable(path)) continue;
    SCOPED_TRACE(file);
    const Image image = read_image(path);
    EXPECT_LE(largest_difference(image, read_image(find(row["rgb"]))), file == "lossy.webp" ? 2 : 0);
    EXPECT_THAT(image.warnings, ::testing::IsEmpty());
    ++compared;
  }
  EXPECT_GE(compared, 38);
}

TEST(Golden, ResizedPixelsAreTheReferences) {
  int compared = 0;
  for (const auto& row : lines(testing::golden("images/resize.jsonl"))) {
    const std::string path = find(row["file"]);
    if (path.empty()) continue;
    SCOPED_TRACE(row.dump());
    const Image image = read_image(path);
    const ImageSize size =
        smart_resize({image.width, image.height}, {row["min_pixels"], row["max_pixels"], 32});
    EXPECT_EQ((Grid{1, size.height / 16, size.width / 16}),
              (Grid{row["grid_thw"][0], row["grid_thw"][1], row["grid_thw"][2]}));
    EXPECT_EQ(largest_difference(resize_bicubic(image, size), read_image(find(row["resized"]))), 0);
    ++compared;
  }
  EXPECT_GE(compared, 11);
}

TEST(Golden, MoreDecodedPixelsAreTheReferences) {
  for (const auto& row : lines(testing::golden("images/more/images.jsonl"))) {
    SCOPED_TRACE(row.dump());
    const std::string file = row["file"], rgb = row["rgb"];
    EXPECT_EQ(largest_difference(read_image(find("more/" + file)), read_image(find("more/" + rgb))), 0);
  }
}

TEST(Golden, MoreResizedPixelsAreTheReferences) {
  for (const auto& row : lines(testing::golden("images/more/resize.jsonl"))) {
    SCOPED_TRACE(row.dump());
    const std::string file = row["file"], resized = row["resized"];
    const Image image = resize_bicubic(read_image(find(file)), {row["size"][0], row["size"][1]});
    EXPECT_EQ(largest_difference(image, read_image(find("more/" + resized))), 0);
  }
}

}  // namespace
}  // namespace tessera
