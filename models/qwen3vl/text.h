// The text decoder of Qwen3-VL as a graph (spec/qwen3-vl.md §6).
#pragma once

#include <span>

#include "models/qwen3vl/config.h"
#include "models/qwen3vl/weights.h"
#include "tensor/graph.h"

namespace tessera::qwen3vl {

// Rotated keys, and values, of one layer: [C, G, d], C the context, in memory head after head.
struct LayerCache {
  TensorView keys, values;
};

struct TextInputs {
  Tensor tokens;     // i32 [T]
  Tensor positions;  // i32 [3, T]: axes t, h, w
  Tensor past;       // i32 [1]: rows in the cache
  std::span<const LayerCache> cache;
  // R rows of pictures among the T: none where visual_index is not set.
  Tensor visual_index;                // i32 [R]: their places among the T rows
  Tensor visual_rows;                 // [R, D]
  std::span<const Tensor> deepstack;  // K of [R, D], added after the first K layers
};

enum class LogitRows { kLast, kAll };

// One forward for prompt and decoding, any number of rows and any precision: logits [1 or T, V].
Tensor text_forward(Graph& g, const TextWeights& w, const TextConfig& c, const TextInputs& in,
                    LogitRows rows);

}  // namespace tessera::qwen3vl
