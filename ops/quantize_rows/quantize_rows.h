// The op that makes activations for products with block weights; ops/matmul appends it.
#pragma once

#include "tensor/graph.h"

namespace tessera::ops {

// x dense f32 [..., K], K a multiple of 32 -> i32 [..., 12 K / 32], ops/matmul/activations.h. Products that
// read the same x one after the other share one node: the one among the last nodes of the graph is returned
// where nothing has written x's memory since.
Tensor quantize_rows(Graph& g, Tensor x);

// The value that quantize_rows makes of rows like x.
TensorDesc quantized_rows(const TensorDesc& x);

}  // namespace tessera::ops
