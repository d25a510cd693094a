// Model: everything that is read from files, shared by any number of sessions.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/files/checkpoint.h"
#include "models/image/preprocess.h"
#include "models/qwen3vl/config.h"
#include "models/qwen3vl/model_files.h"
#include "models/qwen3vl/recipe.h"
#include "models/text/chat.h"
#include "models/text/sampler.h"
#include "models/text/tokenizer.h"
#include "tensor/api.h"

namespace tessera::qwen3vl {

struct Weights;

struct LoadOptions {
  int threads = 1;  // for laying out the weights
  // What the caller will allocate beside the weights (KV cache, pictures): load refuses, before it reads a
  // weight, when both together are more than the memory that is free.
  std::size_t extra_bytes = 0;
  // Quantizes while loading: bit for bit the weights of a file that this recipe made.
  std::optional<Recipe> recipe{};
};

// Immutable once loaded.
class TESSERA_API Model {
 public:
  // Throws Error (kModel, kUnsupported, kResource).
  static std::shared_ptr<const Model> load(ModelFiles files, const LoadOptions& options);
  // The same for open_model_files(path).
  static std::shared_ptr<const Model> load(const std::string& path, const LoadOptions& options);
  // Weights alone, for measurements: no tokenizer, default preprocessing. The tensors are named as in
  // ModelFiles. Throws Error likewise.
  static std::shared_ptr<const Model> from_checkpoint(std::shared_ptr<const Checkpoint> checkpoint,
                                                      const Config& config, const LoadOptions& options);
  ~Model();

  const std::string& path() const { return path_; }
  const Config& config() const { return config_; }
  const PreprocessConfig& preprocess() const { return preprocess_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }  // not after from_checkpoint
  ChatLayout chat_layout() const { return chat_layout_; }
  const GenerationDefaults& generation() const { return generation_; }
  const Weights& weights() const { return *weights_; }
  std::size_t weight_bytes() const { return weight_bytes_; }
  // What was odd but harmless in the files, in printable text.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  Model() = default;
  void bind(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options);

  std::string path_;
  Config config_;
  PreprocessConfig preprocess_;
  std::optional<Tokenizer> tokenizer_;
  ChatLayout chat_layout_ = ChatLayout::kInstruct;
  GenerationDefaults generation_;
  std::unique_ptr<const Weights> weights_;
  std::size_t weight_bytes_ = 0;
  std::vector<std::string> warnings_;
};

}  // namespace tessera::qwen3vl
