// The names of Qwen3-VL's tensors in GGUF files and in Hugging Face checkpoints: the one table, both ways.
//
//   model.language_model.layers.3.self_attn.q_proj.weight  <->  blk.3.attn_q.weight          text file
//   model.visual.blocks.3.mlp.linear_fc1.bias              <->  v.blk.3.ffn_up.bias          mmproj file
//   model.visual.deepstack_merger_list.1.norm.weight       <->  v.deepstack.11.norm.weight   mmproj file
//
// A DeepStack merger is numbered by its place in the list there and by the block that it follows here
// (deepstack_visual_indexes[1] = 11). The patch convolution [E, 3, 2, P, P] is two tensors [E, 3, P, P], one
// for each frame. All other tensors have the same shape and the same order of elements on both sides.
// Source: spec/qwen3-vl.md §9.2, §9.3 (llama.cpp's converter).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "models/qwen3vl/config.h"
#include "tensor/api.h"

namespace tessera::qwen3vl {

// The file of a GGUF pair that holds a tensor.
enum class GgufPart { kText, kVision };

struct GgufName {
  GgufPart part;
  std::string name;
};

inline constexpr std::string_view kPatchEmbedding = "model.visual.patch_embed.proj.weight";
// Its frames 0 and 1.
inline constexpr std::string_view kGgufPatchSlices[] = {"v.patch_embd.weight", "v.patch_embd.weight.1"};

// kPatchEmbedding gives its first slice. Nothing for a name that the table does not have, or with a number
// that `config` does not have.
TESSERA_API std::optional<GgufName> gguf_name(std::string_view hugging_face, const Config& config);

// The inverse. A first slice gives kPatchEmbedding; a second one has no name of its own. Nothing for a name
// that the table does not have in that file. Throws Error{kModel, file, name} for a layer, block or DeepStack
// number that is malformed or that `config` does not have.
TESSERA_API std::optional<std::string> hugging_face_name(const GgufName& gguf, const Config& config,
                                                         const std::string& file);

}  // namespace tessera::qwen3vl
