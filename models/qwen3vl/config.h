// What config.json and preprocessor_config.json of a Qwen3-VL folder say (spec/qwen3-vl.md §1, §3.1).
//
// Members have the Hugging Face key names. Every number is range-checked and every relation that the model
// relies on holds, so that users of a Config divide, allocate and index without checks of their own.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/image/preprocess.h"
#include "tensor/api.h"

namespace tessera::qwen3vl {

struct TextConfig {
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;  // a multiple of num_key_value_heads
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;  // even; not hidden_size / num_attention_heads in every published size
  std::int64_t max_position_embeddings = 0;
  float rms_norm_eps = 0;
  double rope_theta = 0;
  // How many of the head_dim / 2 rotary frequencies follow the time, row and column position.
  std::array<std::int64_t, 3> mrope_section{};
  // True: frequency i follows axis i mod 3 while i < 3 · mrope_section[axis], then time. False: the axes own
  // consecutive runs of frequencies.
  bool mrope_interleaved = true;
};

struct VisionConfig {
  std::int64_t depth = 0;
  std::int64_t hidden_size = 0;  // a multiple of 4 · num_heads: rows and columns each rotate half of a head
  std::int64_t intermediate_size = 0;
  std::int64_t num_heads = 0;
  std::int64_t in_channels = 0;  // 3
  std::int64_t patch_size = 0;
  std::int64_t temporal_patch_size = 0;
  std::int64_t spatial_merge_size = 0;
  std::int64_t out_hidden_size = 0;          // equals TextConfig::hidden_size
  std::int64_t num_position_embeddings = 0;  // a square number: the table covers a square picture
  // Blocks whose output feeds DeepStack: strictly increasing, below depth, no more than num_hidden_layers.
  std::vector<std::int64_t> deepstack_visual_indexes;
};

struct Config {
  TextConfig text;
  VisionConfig vision;
  // The top-level flag, else that of text_config, else false. A checkpoint without lm_head.weight is tied
  // whatever this says.
  bool tie_word_embeddings = false;
  // Token ids, all below vocab_size.
  std::int32_t image_token_id = 0;
  std::int32_t video_token_id = 0;
  std::int32_t vision_start_token_id = 0;
  std::int32_t vision_end_token_id = 0;
  std::vector<std::int32_t> eos_token_ids;  // text_config.eos_token_id: one number or several
};

// Reads folder/config.json. Both spellings of the rotary settings are read (spec §1.2). Keys that mean
// nothing to the model are ignored. Throws Error{kModel} for a missing, malformed or out-of-range value, and
// Error{kUnsupported} for another architecture and for features that this model lacks: experts, sliding
// windows, quantized checkpoints, YaRN and other rope types, projection biases, other activations. Both name
// the key.
TESSERA_API Config config_from_folder(const std::string& folder);

// Reads folder/preprocessor_config.json, or image_processor in folder/processor_config.json where the former
// does not exist. Patch and merge sizes must be those of `vision`. Errors as above.
TESSERA_API PreprocessConfig preprocess_config_from_folder(const std::string& folder,
                                                           const VisionConfig& vision);

}  // namespace tessera::qwen3vl
