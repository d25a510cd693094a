// The vision tower of Qwen3-VL as a graph (spec/qwen3-vl.md §5).
#pragma once

#include <cstdint>
#include <vector>

#include "models/image/patches.h"
#include "models/qwen3vl/config.h"
#include "models/qwen3vl/weights.h"
#include "tensor/graph.h"

namespace tessera::qwen3vl {

struct VisionInputs {
  Tensor patches;    // [P, 3 * 2 * 16 * 16], rows in merge order
  Tensor positions;  // i32 [2, P]: row and column of each patch
  Grid grid;         // P = t * h * w
};

struct VisionOutputs {
  Tensor merger;                  // [N, D], N = P / merge^2 tokens in raster order
  std::vector<Tensor> deepstack;  // K of [N, D]
};

VisionOutputs vision_forward(Graph& g, const VisionWeights& w, const VisionConfig& c, const VisionInputs& in);

// Row and column of each patch in merge order, [2, P]: what VisionInputs::positions reads.
std::vector<std::int32_t> vision_positions(const Grid& grid, std::int64_t merge_size);

}  // namespace tessera::qwen3vl
