// The vision tower of Qwen3-VL as a graph (spec/qwen3-vl.md §5).
#pragma once

#include <cstdint>
#include <vector>

#include "models/image/preprocess.h"
#include "models/qwen3vl/config.h"
#include "models/qwen3vl/weights.h"
#include "tensor/graph.h"

namespace tessera::qwen3vl {

struct VisionInputs {
  Tensor samples;    // u8 [F, 16 h, 16 w, 3], as PixelValues has them
  Tensor levels;     // [3, 256]
  Tensor positions;  // i32 [2, P]: row and column of each patch
  // [(1 + K) N, 1, D], N = P / merge^2 tokens in raster order: what the merger makes of them, then what each
  // DeepStack merger does. Written, level after level, so that no level waits in the arena for the others.
  Tensor features;
  Tensor first_rows;  // i32 [1 + K]: 0, N, 2 N …
  Grid grid;          // P = t * h * w, t = F / 2 rounded up
};

// The features, all of them written.
Tensor vision_forward(Graph& g, const VisionWeights& w, const VisionConfig& c, const VisionInputs& in);

// Row and column of each patch in merge order, [2, P]: what VisionInputs::positions reads.
std::vector<std::int32_t> vision_positions(const Grid& grid, std::int64_t merge_size);

}  // namespace tessera::qwen3vl
