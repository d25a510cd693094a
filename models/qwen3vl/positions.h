// Position ids of a token sequence with pictures and clips in it (spec/qwen3-vl.md §7).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/image/preprocess.h"
#include "models/qwen3vl/config.h"
#include "tensor/api.h"

namespace tessera::qwen3vl {

struct Positions {
  std::vector<std::int32_t> values;  // [3][n]: time, row, column of each token
  std::int32_t next = 0;             // position of the token that follows, on all three axes
};

// Positions of n tokens of which the first stands at `start`: 0 for a prompt, `next` of the tokens before for
// a later turn or a decoding step.
//
//   text        (p, p, p); p += 1
//   picture     rows H = h / merge, columns W = w / merge:  (p, p + y, p + x); p += max(H, W)
//   clip        each of its t grids as a picture: time is told by the text between them
//
// The k-th run of H · W image_token_id tokens belongs to images[k] (t = 1); those of video_token_id to the
// grids of `videos` one after another. Grids count patches, not tokens.
// Throws Error{kInput} when placeholders and grids do not match and when positions exceed 2^31 − 1;
// Error{kUsage} for a grid whose sides are no positive multiples of spatial_merge_size.
TESSERA_API Positions token_positions(std::span<const std::int32_t> tokens, std::span<const Grid> images,
                                      std::span<const Grid> videos, const Config& config,
                                      std::int32_t start = 0);

}  // namespace tessera::qwen3vl
