#include "models/image/patches.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/models/image/pictures.h"

namespace tessera {
namespace {

// One f32 tensor of a safetensors file, read with no checks.
std::vector<float> tensor_of(const std::string& path, const std::string& name) {
  const std::string file = testing::load(path);
  std::uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  const auto entry = nlohmann::json::parse(file.substr(8, header)).at(name);
  const std::size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
  std::vector<float> values((end - begin) / sizeof(float));
  std::memcpy(values.data(), file.data() + 8 + header + begin, end - begin);
  return values;
}

PreprocessConfig config_of(const std::string& folder) {
  const auto json =
      nlohmann::json::parse(testing::load(testing::shared_golden(folder + "/preprocessor_config.json")));
  PreprocessConfig config;
  config.min_pixels = json["size"]["shortest_edge"];
  config.max_pixels = json["size"]["longest_edge"];
  config.patch_size = json["patch_size"];
  config.temporal_patch_size = json["temporal_patch_size"];
  config.merge_size = json["merge_size"];
  config.mean = json["image_mean"];
  config.std = json["image_std"];
  return config;
}

// Counts, since a mismatch of two vectors this long prints for minutes.
std::size_t differing(const std::vector<float>& got, const std::vector<float>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  if (got.size() != expected.size()) return got.size();
  std::size_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    count += std::memcmp(&got[i], &expected[i], sizeof(float)) != 0;
  return count;
}

TEST(Patches, OfAPictureEqualTheReferencesPixelValuesBitForBit) {
  TESSERA_REQUIRE_SHARED("cases");
  for (const std::string name : {"dense", "untied", "moe", "shapes-vl", "qwen25vl"}) {
    SCOPED_TRACE(name);
    const std::string stem = testing::shared_golden("cases/" + name + "/one");
    const auto grid = nlohmann::json::parse(testing::load(stem + ".json"))["image_grid_thw"][0];
    const Patches patches = image_patches(read_image(testing::golden("images/rgb8.png")),
                                          config_of(name == "shapes-vl" ? name : "checkpoints/" + name));
    EXPECT_EQ(patches.grid, (Grid{grid[0], grid[1], grid[2]}));
    EXPECT_EQ(differing(patches.values, tensor_of(stem + ".safetensors", "pixel_values")), 0u);
  }
}

TEST(Patches, OfAClipEqualTheReferencesPixelValuesBitForBit) {
  TESSERA_REQUIRE_SHARED("cases");
  std::vector<Image> frames;
  for (int i = 0; i < 6; ++i) {
    frames.push_back(read_image(testing::golden("images/frames/96x64_6_00" + std::to_string(i) + ".png")));
  }
  const Patches patches = frame_patches(frames, PreprocessConfig{}, Normalization::kVideo);
  EXPECT_EQ(patches.grid, (Grid{3, 4, 6}));
  EXPECT_EQ(differing(patches.values, tensor_of(testing::shared_golden("cases/dense/video.safetensors"),
                                                "pixel_values_videos")),
            0u);
}

// spec/qwen3-vl.md §3.6: the (row, column) of each of the 24 patches of a 4x6 grid.
TEST(Patches, ComeInWindowsOfTheMerge) {
  Image image{96, 64, std::vector<std::uint8_t>(96 * 64 * 3), {}};
  for (std::size_t y = 0; y < 64; ++y) {
    for (std::size_t x = 0; x < 96; ++x)
      image.rgb[(y * 96 + x) * 3] = static_cast<std::uint8_t>(y / 16 * 10 + x / 16);
  }
  const Patches patches = frame_patches(std::span(&image, 1), PreprocessConfig{}, Normalization::kVideo);
  std::vector<int> order;
  for (std::size_t row = 0; row < 24; ++row) {
    order.push_back(static_cast<int>(patches.values[row * 1536] * 127.5f + 127.5f + 0.5f));
  }
  EXPECT_THAT(order, ::testing::ElementsAre(0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15, 20, 21, 30, 31, 22, 23,
                                            32, 33, 24, 25, 34, 35));
}

// Column c · 512 + frame · 256 + y · 16 + x.
TEST(Patches, HoldChannelsThenFramesThenPixels) {
  Image first{32, 32, std::vector<std::uint8_t>(32 * 32 * 3), {}}, second = first;
  first.rgb[(3 * 32 + 5) * 3 + 1] = 255;
  second.rgb[(7 * 32 + 2) * 3 + 2] = 255;
  const std::vector<Image> frames{first, second};
  const Patches patches = frame_patches(frames, PreprocessConfig{}, Normalization::kImage);
  std::vector<std::size_t> bright;
  for (std::size_t i = 0; i < patches.values.size(); ++i) {
    if (patches.values[i] == 1.0f) bright.push_back(i);
  }
  EXPECT_THAT(bright, ::testing::ElementsAre(512 + 3 * 16 + 5, 2 * 512 + 256 + 7 * 16 + 2));
}

TEST(Patches, RepeatTheLastFrameOfAnOddClip) {
  std::vector<Image> frames;
  for (int i = 0; i < 5; ++i) {
    frames.push_back(read_image(testing::golden("images/frames/64x96_5_00" + std::to_string(i) + ".png")));
  }
  const Patches odd = frame_patches(frames, PreprocessConfig{}, Normalization::kVideo);
  frames.push_back(frames.back());
  const Patches even = frame_patches(frames, PreprocessConfig{}, Normalization::kVideo);
  EXPECT_EQ(odd.grid, (Grid{3, 6, 4}));
  EXPECT_EQ(differing(odd.values, even.values), 0u);
}

TEST(Patches, OfFlatPicturesStayWithinTheRange) {
  for (const std::uint8_t level : {0, 255}) {
    const Image image{33, 47, std::vector<std::uint8_t>(33 * 47 * 3, level), {}};
    const Patches patches = image_patches(image, PreprocessConfig{});
    EXPECT_THAT(patches.values, ::testing::Each(level == 0 ? -1.0f : 1.0f));
  }
}

void expect_usage_error(const std::vector<Image>& frames, const PreprocessConfig& config,
                        const std::string& reason) {
  try {
    frame_patches(frames, config, Normalization::kImage);
    ADD_FAILURE() << "accepted, expected: " << reason;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_THAT(e.what(), ::testing::HasSubstr(reason));
  }
}

TEST(Patches, RejectFramesThatDoNotFit) {
  const auto black = [](int w, int h) {
    return Image{w, h, std::vector<std::uint8_t>(static_cast<std::size_t>(w * h * 3)), {}};
  };
  expect_usage_error({}, {}, "frames: there is none");
  expect_usage_error({black(32, 32), black(64, 32)}, {}, "sizes differ (got 64x32, expected 32x32)");
  expect_usage_error({black(32, 48)}, {}, "(got 32x48, expected multiples of 32)");
  expect_usage_error({Image{32, 32, {1, 2, 3}, {}}}, {},
                     "rgb: 3 bytes do not make a picture of 32x32 pixels");
  PreprocessConfig config;
  config.merge_size = 0;
  expect_usage_error({black(32, 32)}, config, "not positive");
}

}  // namespace
}  // namespace tessera
