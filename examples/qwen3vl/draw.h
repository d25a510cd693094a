// Boxes drawn into a picture.
#pragma once

#include <span>

#include "examples/qwen3vl/boxes.h"
#include "models/image/image.h"

namespace tessera::programs {

// Each box as a frame with its label above it, or inside where there is no room above. Colours follow one
// another; line width and letters grow with the picture. Characters outside ASCII are drawn as "?".
void draw_boxes(Image& image, std::span<const Box> boxes);

}  // namespace tessera::programs
