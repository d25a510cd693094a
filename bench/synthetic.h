// Models of the published shapes without their files: for measurements, where the values do not matter.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "models/files/checkpoint.h"
#include "models/qwen3vl/config.h"
#include "tensor/dtype.h"

namespace tessera::bench {

// "2b", "4b", "8b": the dense Qwen3-VL of that size (spec/qwen3-vl.md §1.3). "tiny": the same structure, a
// few million weights.
std::optional<qwen3vl::Config> synthetic_config(std::string_view size);

// Every tensor that the model asks for, in memory. Matrices are stretches of one random buffer (normal,
// deviation 0.02) as large as the largest of them, in which they follow each other and wrap around; vectors
// are ones. So values stay finite through all layers, and beside the weights that a model lays out for itself
// there is only this buffer. dtype: f32, f16 or bf16. `name` stands for the path.
// Throws Error{kResource}, before it allocates, when the buffer, all weights and extra_bytes exceed the
// memory that is free.
std::shared_ptr<const Checkpoint> synthetic_checkpoint(const std::string& name, const qwen3vl::Config& config,
                                                       DType dtype, std::size_t extra_bytes);

}  // namespace tessera::bench
