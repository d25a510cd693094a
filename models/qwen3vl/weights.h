// The weights of both towers, bound by their Hugging Face names and laid out for this CPU.
//
// Matrices are packed by ops::pack_weight (f16, bf16, blocks) or read where the file is mapped (f32);
// vectors (norms, biases) become f32. Shape letters: D text hidden_size, Q heads * head_dim, KV key/value
// heads * head_dim, I intermediate_size, V vocab_size; E vision hidden_size, F vision intermediate_size,
// M = merge^2 * E.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/files/checkpoint.h"
#include "models/qwen3vl/config.h"
#include "models/qwen3vl/recipe.h"
#include "tensor/buffer.h"
#include "tensor/tensor_view.h"

namespace tessera::qwen3vl {

struct DecoderLayerWeights {
  TensorView input_layernorm;           // [D]
  TensorView q_proj, k_proj, v_proj;    // [Q, D], [KV, D], [KV, D]
  TensorView q_norm, k_norm;            // [head_dim]
  TensorView o_proj;                    // [D, Q]
  TensorView post_attention_layernorm;  // [D]
  TensorView gate_proj, up_proj;        // [I, D]
  TensorView down_proj;                 // [D, I]
};

struct TextWeights {
  TensorView embed_tokens;  // [V, D]
  std::vector<DecoderLayerWeights> layers;
  TensorView norm;     // [D]
  TensorView lm_head;  // [V, D]; embed_tokens where they are tied
};

struct VisionBlockWeights {
  TensorView norm1_weight, norm1_bias;  // [E]
  TensorView qkv_weight, qkv_bias;      // [3 E, E], [3 E]: rows of q, then k, then v
  TensorView proj_weight, proj_bias;    // [E, E], [E]
  TensorView norm2_weight, norm2_bias;  // [E]
  TensorView fc1_weight, fc1_bias;      // [F, E], [F]
  TensorView fc2_weight, fc2_bias;      // [E, F], [E]
};

struct MergerWeights {
  TensorView norm_weight, norm_bias;  // [E] in the main merger, [M] in the DeepStack mergers
  TensorView fc1_weight, fc1_bias;    // [M, M], [M]
  TensorView fc2_weight, fc2_bias;    // [D, M], [D]
};

struct VisionWeights {
  TensorView patch_embed_weight, patch_embed_bias;  // [E, 3 * 2 * 16 * 16], [E]
  TensorView pos_embed;                             // [n * n, E], f32
  std::vector<VisionBlockWeights> blocks;
  MergerWeights merger;
  std::vector<MergerWeights> deepstack_mergers;  // in the order of deepstack_visual_indexes
};

struct Weights {
  TextWeights text;
  VisionWeights vision;
  std::vector<std::string> warnings;  // tensors that the model does not use
  // Every matrix once, by its canonical name, as the views above have it.
  std::vector<std::pair<std::string, TensorView>> matrices;

  std::vector<Buffer> memory;                    // what the views read ...
  std::shared_ptr<const Checkpoint> checkpoint;  // ... beside the mapped files
};

// A weight of the model in a checkpoint.
struct WeightPlace {
  std::string name;  // canonical
  Shape shape;
  bool is_matrix = false;  // else it becomes f32
  TensorView source;       // perhaps unaligned
};

// Every weight that the model uses, in the order of the model; a head tied to the embedding is none.
// Throws Error{kModel} for missing or misshapen tensors, kUnsupported for a dtype that serves no weight.
std::vector<WeightPlace> list_weights(const Checkpoint& checkpoint, const Config& config);

RecipeModel recipe_model(const Checkpoint& checkpoint, const Config& config);

// How weights are loaded.
struct WeightOptions {
  int threads = 1;
  // Quantizes on the way: bit for bit the weights that a file quantized by this recipe gives.
  std::optional<Recipe> recipe{};
};

struct WeightBytes {
  std::size_t kept = 0;  // by the weights once loaded, matrices that stay mapped included
  std::size_t peak = 0;  // while they are loaded
};
// What load_weights will take, from the checkpoint's listing alone. Throws as list_weights.
WeightBytes weight_bytes(const Checkpoint& checkpoint, const Config& config, const WeightOptions& options);

// Throws as list_weights, Error{kModel} for numbers that the recipe's formats cannot hold, kResource when
// memory runs out.
Weights load_weights(std::shared_ptr<const Checkpoint> checkpoint, const Config& config,
                     const WeightOptions& options);

}  // namespace tessera::qwen3vl
