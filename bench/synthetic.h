// Models of the published shapes without their files: for measurements, where the values do not matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/checkpoint.h"
#include "models/qwen3vl/config.h"
#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace tessera::bench {

// Added tokens of a Qwen3-VL vocabulary, by increasing id (spec/qwen3-vl.md §8.3).
inline constexpr std::string_view kControls[] = {
    "<|endoftext|>",  "<|im_start|>",   "<|im_end|>",      "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>",  "<|box_end|>",    "<|quad_start|>",  "<|quad_end|>",         "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>",   "<|video_pad|>",        "<tool_call>",
    "</tool_call>",   "<|fim_prefix|>", "<|fim_middle|>",  "<|fim_suffix|>",       "<|fim_pad|>",
    "<|repo_name|>",  "<|file_sep|>",   "<tool_response>", "</tool_response>",     "<think>",
    "</think>"};
inline constexpr int kSpecialControls = 14;  // the first ones are marked special
// Id of the first: 151643 of 151936, and as far from the end of a smaller vocabulary.
inline std::int32_t first_control_id(const qwen3vl::TextConfig& text) {
  return static_cast<std::int32_t>(text.vocab_size) - 293;
}

// "2b", "4b", "8b": the dense Qwen3-VL of that size (spec/qwen3-vl.md §1.3). "tiny": the same structure, a
// few million weights.
std::optional<qwen3vl::Config> synthetic_config(std::string_view size);

// A tensor that a model of this shape asks for, by its Hugging Face name.
struct SyntheticTensor {
  std::string name;
  Shape shape;
  bool is_vector() const { return shape.rank() == 1; }
};
std::vector<SyntheticTensor> synthetic_tensors(const qwen3vl::Config& config);

// Matrices are random with this deviation: values stay finite through all layers. Vectors are ones.
inline constexpr float kDeviation = 0.02f;
// What vectors hold. A dense view of any weight format.
void fill_ones(const TensorView& out);

// Every tensor that the model asks for, in memory. Matrices are stretches of a random buffer, one for each
// dtype and as large as its largest matrix, in which they follow each other and wrap around; vectors are
// ones. Beside the weights that a model lays out for itself there are only these buffers. `name` stands for
// the path.
//
// type: f32, f16 or bf16: all tensors are, as in a Hugging Face folder; any other name of
// models/qwen3vl/recipe.h: the formats that this recipe gives.
//
// Throws what Recipe throws for a name; Error{kResource}, before it allocates, when the buffers, all weights
// and extra_bytes exceed the memory that is free.
std::shared_ptr<const Checkpoint> synthetic_checkpoint(const std::string& name, const qwen3vl::Config& config,
                                                       std::string_view type, std::size_t extra_bytes);

}  // namespace tessera::bench
