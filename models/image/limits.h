// Private: the checks on sizes that decoders, resizing and preprocessing share.
#pragma once

#include <cstdint>
#include <string>

#include "models/image/image.h"
#include "models/image/resize.h"

namespace tessera {

// Throws Error{kInput, name, field} when the longer side is over limit times the shorter. Sides are positive.
void check_aspect(ImageSize size, std::uint64_t limit, const std::string& name, const std::string& field);

// Throws Error{kInput, name, format} unless a picture of this size may be decoded: sides positive, side, area
// and aspect within limits. Every decoder calls it on its header.
void check_size(std::uint64_t width, std::uint64_t height, const std::string& name, const std::string& format,
                const ImageLimits& limits);

// Throws Error{kUsage} unless both sides are positive and rgb holds exactly 3 bytes a pixel.
void check_pixels(const Image& image);

}  // namespace tessera
