// Pictures: from PNG, JPEG and WebP files to RGB pixels.
//
// What every decoder does, as the reference (Pillow, then the rules of tests/golden/images) does it:
//   - the content decides the format, not the file's name;
//   - grey is replicated to R, G and B; samples of 16 bits keep their high byte;
//   - alpha, or a PNG's transparent colour, is composited on white: (v·a + 255·(255 − a) + 127) / 255 in
//   integers;
//   - gamma and colour profiles are ignored;
//   - the EXIF orientation is applied, so the picture stands upright; damaged EXIF counts as absent;
//   - CMYK in JPEG is taken as Adobe stores it, inverted: R = C·K / 255, rounded to nearest.
//
// A picture is whole or rejected: cut data, bad checksums and decoder warnings are errors, never a half-grey
// picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/api.h"

namespace tessera {

struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // [height][width][3]
  // What a person should know about the file although it was read, such as "animated: the first frame is
  // used".
  std::vector<std::string> warnings;
};

// Looked at in the header, before pixels are decoded or memory for them is taken (reliability.md §3.0).
struct ImageLimits {
  std::uint64_t file_bytes = std::uint64_t{64} << 20;
  std::uint64_t pixels = 100'000'000;
  std::uint64_t side = 65535;
  std::uint64_t aspect = 200;  // longer side / shorter side; exactly this much is allowed
};

// Reads a regular file. Throws Error{kInput} when it is missing, no regular file, unreadable, over a limit,
// of another format, damaged, or shrinks meanwhile. A FIFO or a device is rejected without waiting for it.
TESSERA_API Image read_image(const std::string& path, const ImageLimits& limits = {});

// The same for bytes in memory; name stands for the file in errors. Bytes after the picture's end are
// ignored.
TESSERA_API Image decode_image(std::span<const std::byte> bytes, const std::string& name,
                               const ImageLimits& limits = {});

// Writes an 8-bit RGB PNG. Throws Error{kOutput} when the file cannot be written; path is then as it was
// before. Throws Error{kUsage} when the pixels do not fit the size.
TESSERA_API void write_png(const std::string& path, const Image& image);

}  // namespace tessera
