#include "models/image/preprocess.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/models/image/pictures.h"
#include "tests/ops/op_test.h"

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

// As the vision tower sees them.
std::vector<float> matrix(const PixelValues& pixels, const PreprocessConfig& config) {
  const Shape shape{pixels.frames, pixels.grid.h * config.patch_size, pixels.grid.w * config.patch_size, 3};
  EXPECT_EQ(static_cast<std::int64_t>(pixels.samples.size()), shape.elements());
  return testing::run([&](Graph& g) {
    return ops::image_patches(
        g, TensorView(DType::kU8, shape, pixels.samples.data()),
        TensorView(DType::kF32, {3, 256}, pixels.levels[0].data()),
        {.patch = config.patch_size, .depth = config.temporal_patch_size, .merge = config.merge_size});
  });
}

TEST(Preprocess, OfAPictureEqualsTheReferencesPixelValuesBitForBit) {
  TESSERA_REQUIRE_SHARED("cases");
  for (const std::string name : {"dense", "untied", "moe", "shapes-vl", "qwen25vl"}) {
    SCOPED_TRACE(name);
    const std::string stem = testing::shared_golden("cases/" + name + "/one");
    const auto grid = nlohmann::json::parse(testing::load(stem + ".json"))["image_grid_thw"][0];
    const PreprocessConfig config = config_of(name == "shapes-vl" ? name : "checkpoints/" + name);
    for (const int threads : {1, 2}) {
      const PixelValues pixels =
          preprocess_image(read_image(testing::golden("images/rgb8.png")), config, threads);
      EXPECT_EQ(pixels.grid, (Grid{grid[0], grid[1], grid[2]}));
      EXPECT_EQ(differing(matrix(pixels, config), tensor_of(stem + ".safetensors", "pixel_values")), 0u);
    }
  }
}

TEST(Preprocess, OfAClipEqualsTheReferencesPixelValuesBitForBit) {
  TESSERA_REQUIRE_SHARED("cases");
  std::vector<Image> frames;
  for (int i = 0; i < 6; ++i) {
    frames.push_back(read_image(testing::golden("images/frames/96x64_6_00" + std::to_string(i) + ".png")));
  }
  const PixelValues pixels = preprocess_frames(frames, PreprocessConfig{}, Normalization::kVideo);
  EXPECT_EQ(pixels.grid, (Grid{3, 4, 6}));
  EXPECT_EQ(differing(matrix(pixels, {}), tensor_of(testing::shared_golden("cases/dense/video.safetensors"),
                                                    "pixel_values_videos")),
            0u);
}

TEST(Preprocess, CountsAnOddClipsLastFrameTwice) {
  const std::vector<Image> frames(5, Image{96, 64, std::vector<std::uint8_t>(96 * 64 * 3), {}});
  const PixelValues pixels = preprocess_frames(frames, PreprocessConfig{}, Normalization::kVideo);
  EXPECT_EQ(pixels.grid, (Grid{3, 4, 6}));
  EXPECT_EQ(pixels.frames, 5);
}

TEST(Preprocess, OfFlatPicturesStaysWithinTheRange) {
  for (const std::uint8_t level : {0, 255}) {
    const Image image{33, 47, std::vector<std::uint8_t>(33 * 47 * 3, level), {}};
    const PixelValues pixels = preprocess_image(image, PreprocessConfig{});
    EXPECT_THAT(matrix(pixels, {}), ::testing::Each(level == 0 ? -1.0f : 1.0f));
  }
}

void expect_usage_error(const std::vector<Image>& frames, const PreprocessConfig& config,
                        const std::string& reason) {
  try {
    preprocess_frames(frames, config, Normalization::kImage);
    ADD_FAILURE() << "accepted, expected: " << reason;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_THAT(e.what(), ::testing::HasSubstr(reason));
  }
}

TEST(Preprocess, RejectFramesThatDoNotFit) {
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
