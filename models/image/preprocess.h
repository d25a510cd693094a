// From pictures to what the vision tower reads (spec/qwen3-vl.md §3.5, §3.6, §4.4).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/image/image.h"
#include "models/image/resize.h"
#include "tensor/api.h"

namespace tessera {

// preprocessor_config.json; the defaults are those published with Qwen3-VL (spec §3.1).
struct PreprocessConfig {
  std::int64_t min_pixels = 65536;     // size.shortest_edge: an area, in spite of its name
  std::int64_t max_pixels = 16777216;  // size.longest_edge
  int patch_size = 16;                 // pixels a side
  int temporal_patch_size = 2;         // frames a patch spans
  int merge_size = 2;                  // patches a side that become one token
  std::array<float, 3> mean{0.5f, 0.5f, 0.5f};
  std::array<float, 3> std{0.5f, 0.5f, 0.5f};

  ResizeRule resize_rule() const { return {min_pixels, max_pixels, patch_size * merge_size}; }
};

// Extents in patches: time, rows, columns.
struct Grid {
  int t = 0;
  int h = 0;
  int w = 0;
  std::int64_t patches() const { return std::int64_t{t} * h * w; }
  // Where `merge` patches a side become one token.
  std::int64_t tokens(std::int64_t merge) const { return patches() / (merge * merge); }
  friend bool operator==(const Grid&, const Grid&) = default;
};

// What the reference calls pixel_values, before samples become floats and rows of patches: frames at the size
// the model sees, one of a picture, and what their samples stand for. ops::image_patches does the rest.
struct PixelValues {
  Grid grid;
  std::int64_t frames = 0;
  std::vector<std::uint8_t> samples;  // [frames][grid.h · patch_size][grid.w · patch_size][3]
  std::array<std::array<float, 256>, 3> levels = {};  // of sample s of channel c: levels[c][s]
};

// How 8-bit samples become floats. Both are (x/255 − mean)/std; they round differently, and the reference
// uses both.
enum class Normalization {
  kImage,  // Pillow backend: f32(x · (1/255)) first, then − mean and / std in f32
  kVideo,  // fused: (x − 255·mean) / (255·std) in f32
};

// One picture: smart_resize, then resize_bicubic on so many threads; grid is (1, height / patch, width /
// patch). Throws as these do.
TESSERA_API PixelValues preprocess_image(const Image& image, const PreprocessConfig& config, int threads = 1);

// Frames that already have the size the model is to see: all the same, both sides multiples of
// patch_size · merge_size. The last frame counts as repeated until temporal_patch_size divides their number.
// Throws Error{kUsage} where that does not hold, or a size in config is not positive.
TESSERA_API PixelValues preprocess_frames(std::span<const Image> frames, const PreprocessConfig& config,
                                          Normalization normalization);

}  // namespace tessera
