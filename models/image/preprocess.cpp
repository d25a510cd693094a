#include "models/image/patches.h"

#include <algorithm>
#include <string>

#include "models/image/limits.h"
#include "tensor/error.h"

namespace tessera {
namespace {

constexpr std::size_t kChannels = 3;

using LevelTable = std::array<std::array<float, 256>, kChannels>;

LevelTable level_table(const PreprocessConfig& config, Normalization normalization) {
  LevelTable table;
  for (std::size_t c = 0; c < kChannels; ++c) {
    for (std::size_t level = 0; level < 256; ++level) {
      if (normalization == Normalization::kImage) {
        const auto scaled = static_cast<float>(static_cast<double>(level) * (1.0 / 255.0));
        table[c][level] = (scaled - config.mean[c]) / config.std[c];
      } else {
        table[c][level] = (static_cast<float>(level) - config.mean[c] * 255.0f) / (config.std[c] * 255.0f);
      }
    }
  }
  return table;
}

[[noreturn]] void usage(const std::string& field, const std::string& reason) {
  throw Error(ErrorCode::kUsage, "", field, reason);
}

void check_frames(std::span<const Image> frames, const PreprocessConfig& config) {
  if (config.patch_size < 1 || config.temporal_patch_size < 1 || config.merge_size < 1) {
    usage("patch_size, temporal_patch_size, merge_size", "not positive");
  }
  if (frames.empty()) usage("frames", "there is none");
  const std::int64_t factor = std::int64_t{config.patch_size} * config.merge_size;
  for (const Image& frame : frames) {
    check_pixels(frame);
    const std::string size = std::to_string(frame.width) + "x" + std::to_string(frame.height);
    if (frame.width != frames[0].width || frame.height != frames[0].height) {
      usage("frames", "sizes differ (got " + size + ", expected " + std::to_string(frames[0].width) + "x" +
                          std::to_string(frames[0].height) + ")");
    }
    if (frame.width % factor != 0 || frame.height % factor != 0) {
      usage("frames", "a side is no multiple of patch_size * merge_size (got " + size +
                          ", expected multiples of " + std::to_string(factor) + ")");
    }
  }
}

// Where one patch's top left corner lies.
struct Corner {
  std::size_t x;
  std::size_t y;
};

// Writes the [3][temporal][patch][patch] values of one patch and returns the end of what it wrote.
float* write_patch(std::span<const Image* const> frames, Corner corner, std::size_t patch,
                   const LevelTable& table, float* out) {
  const std::size_t pitch = static_cast<std::size_t>(frames[0]->width) * kChannels;
  for (std::size_t c = 0; c < kChannels; ++c) {
    const std::array<float, 256>& levels = table[c];
    float* const first = out;
    for (std::size_t f = 0; f < frames.size(); ++f) {
      if (f > 0 && frames[f] == frames[0]) {
        out = std::copy_n(first, patch * patch, out);
        continue;
      }
      const std::uint8_t* row = frames[f]->rgb.data() + corner.y * pitch + corner.x * kChannels + c;
      for (std::size_t y = 0; y < patch; ++y, row += pitch) {
        for (std::size_t x = 0; x < patch; ++x) *out++ = levels[row[x * kChannels]];
      }
    }
  }
  return out;
}

}  // namespace

Patches image_patches(const Image& image, const PreprocessConfig& config) {
  const Image resized =
      resize_bicubic(image, smart_resize({image.width, image.height}, config.resize_rule()));
  return frame_patches(std::span(&resized, 1), config, Normalization::kImage);
}

Patches frame_patches(std::span<const Image> frames, const PreprocessConfig& config,
                      Normalization normalization) {
  check_frames(frames, config);
  const auto patch = static_cast<std::size_t>(config.patch_size);
  const auto merge = static_cast<std::size_t>(config.merge_size);
  const auto depth = static_cast<std::size_t>(config.temporal_patch_size);
  const std::size_t steps = (frames.size() + depth - 1) / depth;
  Patches out;
  out.grid = {static_cast<int>(steps), frames[0].height / config.patch_size,
              frames[0].width / config.patch_size};
  out.values.resize(static_cast<std::size_t>(out.grid.patches()) * kChannels * depth * patch * patch);

  const LevelTable table = level_table(config, normalization);
  const std::size_t window = patch * merge;
  const auto width = static_cast<std::size_t>(frames[0].width),
             height = static_cast<std::size_t>(frames[0].height);
  std::vector<const Image*> slice(depth);
  float* to = out.values.data();
  for (std::size_t t = 0; t < steps; ++t) {
    for (std::size_t f = 0; f < depth; ++f) slice[f] = &frames[std::min(t * depth + f, frames.size() - 1)];
    for (std::size_t wy = 0; wy < height; wy += window) {
      for (std::size_t wx = 0; wx < width; wx += window) {
        for (std::size_t m = 0; m < merge * merge; ++m) {
          const Corner corner{wx + m % merge * patch, wy + m / merge * patch};
          to = write_patch(slice, corner, patch, table, to);
        }
      }
    }
  }
  return out;
}

}  // namespace tessera
