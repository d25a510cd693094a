// The size at which a model sees a picture, and the resampling to it.
#pragma once

#include <cstdint>

#include "models/image/image.h"
#include "tensor/api.h"

namespace tessera {

struct ImageSize {
  int width = 0;
  int height = 0;
  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

// Bounds on width·height after resizing, and the number that both sides become a multiple of.
struct ResizeRule {
  std::int64_t min_pixels = 0;
  std::int64_t max_pixels = 0;
  int factor = 0;
};

// The reference's smart_resize (spec/qwen3-vl.md §3.3): both sides to the nearest multiple of factor, half to
// even; then, if the area is over max_pixels or under min_pixels, both scaled by one root, rounded down or
// up. A side is never less than factor, so a thin picture may stay over max_pixels. Throws Error{kInput} when
// one side is over 200 times the other (exactly 200 is allowed), Error{kUsage} when the size or the factor is
// not positive, the factor is over 4096, or not 1 ≤ min_pixels ≤ max_pixels ≤ 2^40.
TESSERA_API ImageSize smart_resize(ImageSize size, const ResizeRule& rule);

// Image.resize(BICUBIC) of Pillow 13, bit for bit (spec §3.4): antialiased cubic with a = −0.5, one pass a
// side, rounded to 8 bits in between, weights in fixed point with 22 fraction bits. A pass is skipped where
// that side does not change. Height goes first if it loses rows, and more than twice as many as the width
// loses columns; otherwise width (before version 13, always). Throws Error{kUsage} for a size that is not
// positive, pixels that do not fit image's size, or threads out of range, and what Cpu::from_environment()
// throws, whose kernels give the same bytes on every level.
TESSERA_API Image resize_bicubic(const Image& image, ImageSize size, int threads = 1);

}  // namespace tessera
