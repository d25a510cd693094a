// From pixels to the matrix that the vision tower reads: one row a patch (spec/qwen3-vl.md §3.5, §3.6, §4.4).
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

// values is [grid.patches()][3 · temporal_patch_size · patch_size²].
// Rows come in groups of merge_size² that become one token: windows in raster order, patches in raster order
// within one, time outermost. Columns: channel, frame, y, x, as in the flattened weight of the patch
// convolution.
struct Patches {
  Grid grid;
  std::vector<float> values;
};

// How 8-bit samples become floats. Both are (x/255 − mean)/std; they round differently, and the reference
// uses both.
enum class Normalization {
  kImage,  // Pillow backend: f32(x · (1/255)) first, then − mean and / std in f32
  kVideo,  // fused: (x − 255·mean) / (255·std) in f32
};

// One picture: smart_resize, resize_bicubic, then its patches; grid is (1, height / patch, width / patch).
// Throws as these do.
TESSERA_API Patches image_patches(const Image& image, const PreprocessConfig& config);

// Frames that already have the size the model is to see: all the same, both sides multiples of
// patch_size · merge_size. The last frame is repeated until temporal_patch_size divides their number.
// Throws Error{kUsage} where that does not hold, or a size in config is not positive.
TESSERA_API Patches frame_patches(std::span<const Image> frames, const PreprocessConfig& config,
                                  Normalization normalization);

}  // namespace tessera
