#include "models/image/preprocess.h"

#include <string>
#include <utility>

#include "models/image/limits.h"
#include "tensor/error.h"

namespace tessera {
namespace {

using Levels = decltype(PixelValues::levels);

Levels levels_of(const PreprocessConfig& config, Normalization normalization) {
  Levels levels;
  for (std::size_t c = 0; c < levels.size(); ++c) {
    for (std::size_t sample = 0; sample < levels[c].size(); ++sample) {
      if (normalization == Normalization::kImage) {
        const auto scaled = static_cast<float>(static_cast<double>(sample) * (1.0 / 255.0));
        levels[c][sample] = (scaled - config.mean[c]) / config.std[c];
      } else {
        levels[c][sample] = (static_cast<float>(sample) - config.mean[c] * 255.0f) / (config.std[c] * 255.0f);
      }
    }
  }
  return levels;
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

PixelValues without_samples(std::span<const Image> frames, const PreprocessConfig& config,
                            Normalization normalization) {
  check_frames(frames, config);
  const auto count = static_cast<int>(frames.size()), depth = config.temporal_patch_size;
  const Grid grid{(count + depth - 1) / depth, frames[0].height / config.patch_size,
                  frames[0].width / config.patch_size};
  return {grid, count, {}, levels_of(config, normalization)};
}

}  // namespace

PixelValues preprocess_image(const Image& image, const PreprocessConfig& config, int threads) {
  const ImageSize size = smart_resize({image.width, image.height}, config.resize_rule());
  Image resized = resize_bicubic(image, size, threads);
  PixelValues values = without_samples({&resized, 1}, config, Normalization::kImage);
  values.samples = std::move(resized.rgb);
  return values;
}

PixelValues preprocess_frames(std::span<const Image> frames, const PreprocessConfig& config,
                              Normalization normalization) {
  PixelValues values = without_samples(frames, config, normalization);
  values.samples.reserve(frames.size() * frames[0].rgb.size());
  for (const Image& frame : frames)
    values.samples.insert(values.samples.end(), frame.rgb.begin(), frame.rgb.end());
  return values;
}

}  // namespace tessera
