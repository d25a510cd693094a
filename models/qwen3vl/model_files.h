// ModelFiles: everything that a model is made of, from whatever files it came.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/files/checkpoint.h"
#include "models/image/preprocess.h"
#include "models/qwen3vl/config.h"
#include "models/text/sampler.h"
#include "models/text/tokenizer.h"
#include "tensor/api.h"

namespace tessera::qwen3vl {

// Read and checked, nothing computed: tensors are mapped, not touched.
struct ModelFiles {
  std::string path;    // the folder, or the text file of a GGUF pair
  std::string mmproj;  // the vision file of a GGUF pair, empty for a Hugging Face folder

  Config config;
  PreprocessConfig preprocess;
  TokenizerParts tokenizer;
  // eos_token_ids: every id that ends an answer, all in the vocabulary.
  GenerationDefaults generation;
  std::optional<std::string> chat_template;
  // Named and shaped as in Hugging Face checkpoints ("model.language_model.layers.0.mlp.up_proj.weight"),
  // whatever the files call them.
  std::shared_ptr<const Checkpoint> checkpoint;

  // What was odd but harmless, in printable text, the checkpoint's warnings included.
  std::vector<std::string> warnings;
};

// `path` is one of
//   a Hugging Face folder: config.json, safetensors, tokenizer, preprocessor_config.json and, where they are
//     there, generation_config.json and a chat template;
//   the text file of a GGUF pair, or any part of it where it is split. `mmproj` is the vision file; where it
//     is empty, the only one beside the text file is taken;
//   a folder without config.json that holds such a pair.
// Throws Error{kModel} and Error{kUnsupported}, and Error{kUsage} where several files could be meant or
// `mmproj` is given with a Hugging Face folder.
TESSERA_API ModelFiles open_model_files(const std::string& path, const std::string& mmproj = "");

}  // namespace tessera::qwen3vl
