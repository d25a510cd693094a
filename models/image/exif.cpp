#include "models/image/exif.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace tessera {
namespace {

constexpr std::uint16_t kOrientationTag = 0x0112;
constexpr std::uint16_t kTypeShort = 3;
constexpr std::size_t kEntryBytes = 12;

// Reads past the end give 0, which no check below takes for an answer.
struct TiffBlock {
  std::span<const std::byte> bytes;
  bool big_endian;

  std::uint32_t number(std::size_t offset, std::size_t size) const {
    if (offset > bytes.size() || bytes.size() - offset < size) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t at = big_endian ? i : size - 1 - i;
      value = value << 8 | std::to_integer<std::uint32_t>(bytes[offset + at]);
    }
    return value;
  }
};

}  // namespace

int exif_orientation(std::span<const std::byte> block) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  if (block.size() >= kPrefix.size() && std::memcmp(block.data(), kPrefix.data(), kPrefix.size()) == 0) {
    block = block.subspan(kPrefix.size());
  }
  if (block.size() < 8) return 1;
  const TiffBlock tiff{block, block[0] == std::byte{'M'}};
  const std::uint32_t order = tiff.number(0, 2);
  if ((order != 0x4949 && order != 0x4D4D) || tiff.number(2, 2) != 42) return 1;
  const std::size_t directory = tiff.number(4, 4);
  const std::uint32_t entries = tiff.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    const std::uint32_t value = tiff.number(entry + 8, 2);
    const bool valid = tiff.number(entry + 2, 2) == kTypeShort && tiff.number(entry + 4, 4) == 1;
    return valid && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image upright(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool swaps_sides = orientation >= 5;
  const bool mirrors_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirrors_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const auto width = static_cast<std::ptrdiff_t>(image.width),
             height = static_cast<std::ptrdiff_t>(image.height);
  // Steps in stored pixels for one pixel to the right and one down in the upright picture.
  const std::ptrdiff_t stored_x = mirrors_x ? -1 : 1;
  const std::ptrdiff_t stored_y = mirrors_y ? -width : width;
  const std::ptrdiff_t right = swaps_sides ? stored_y : stored_x;
  const std::ptrdiff_t down = swaps_sides ? stored_x : stored_y;
  const std::ptrdiff_t corner = (mirrors_x ? width - 1 : 0) + (mirrors_y ? (height - 1) * width : 0);

  Image out{image.width, image.height, {}, std::move(image.warnings)};
  if (swaps_sides) std::swap(out.width, out.height);
  out.rgb.resize(image.rgb.size());
  // In squares, whose stored rows stay in the first-level cache.
  constexpr int kSquare = 64;
  for (int y0 = 0; y0 < out.height; y0 += kSquare) {
    for (int x0 = 0; x0 < out.width; x0 += kSquare) {
      const int x1 = std::min(x0 + kSquare, out.width), y1 = std::min(y0 + kSquare, out.height);
      for (int y = y0; y < y1; ++y) {
        std::uint8_t* to = &out.rgb[(static_cast<std::size_t>(y) * static_cast<std::size_t>(out.width) +
                                     static_cast<std::size_t>(x0)) *
                                    3];
        const std::uint8_t* from = image.rgb.data() + (corner + y * down + x0 * right) * 3;
        for (int x = x0; x < x1; ++x, to += 3, from += right * 3) std::memcpy(to, from, 3);
      }
    }
  }
  return out;
}

}  // namespace tessera
