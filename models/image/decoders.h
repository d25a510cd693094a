// Private: what the decoders share. Each lies in a source of its own and alone knows its library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/image/image.h"

namespace tessera {

struct PictureSource {
  std::span<const std::byte> bytes;
  const std::string& name;
  const ImageLimits& limits;
};

// Each throws Error{kInput} with the format as field. The picture comes out upright.
// While a damaged file is being decoded, only memory for rows that were decoded is touched.
Image decode_png(const PictureSource& source);
Image decode_jpeg(const PictureSource& source);
Image decode_webp(const PictureSource& source);

// A colour sample composited on white, rounded to nearest.
inline std::uint8_t over_white(unsigned value, unsigned alpha) {
  return static_cast<std::uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

// Appends a row of [width][4] samples, composited on white.
void append_rgba(std::span<const std::uint8_t> rgba, std::vector<std::uint8_t>* rgb);

// An empty picture with room reserved, not touched, for its pixels.
Image reserve_image(int width, int height);

}  // namespace tessera
