// Private: the one EXIF field that changes pixels.
#pragma once

#include <cstddef>
#include <span>

#include "models/image/image.h"

namespace tessera {

// Tag 0x0112 (SHORT, count 1) of the first directory of a TIFF block, which may follow "Exif\0\0": 1 to 8. 1
// where it is absent, out of range, or the block is damaged. Follows one offset, so no loop is possible.
// (CIPA DC-008 §4.6)
int exif_orientation(std::span<const std::byte> block);

// Turns and mirrors a stored picture so that it stands upright. orientation is 1 to 8.
Image upright(Image image, int orientation);

}  // namespace tessera
