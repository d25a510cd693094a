#include "models/qwen3vl/model.h"

#include <algorithm>

#include "models/qwen3vl/weights.h"
#include "tensor/buffer.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera::qwen3vl {
namespace {

void require_memory(const std::string& path, std::size_t needed) {
  const std::size_t available = available_memory();
  if (needed <= available) return;
  auto megabytes = [](std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  throw Error(ErrorCode::kResource, path, "memory",
              "not enough (needs " + megabytes(needed) + ", available " + megabytes(available) + ")");
}

}  // namespace

Model::~Model() = default;

std::shared_ptr<const Model> Model::from_checkpoint(std::shared_ptr<const Checkpoint> checkpoint,
                                                    const Config& config, const LoadOptions& options) {
  std::shared_ptr<Model> model(new Model);
  model->path_ = checkpoint->path();
  model->config_ = config;
  model->bind(std::move(checkpoint), options);
  return model;
}

std::shared_ptr<const Model> Model::load(const std::string& path, const LoadOptions& options) {
  std::shared_ptr<Model> model(new Model);
  model->path_ = path;
  model->config_ = config_from_folder(path);
  const Config& config = model->config_;
  model->preprocess_ = preprocess_config_from_folder(path, config.vision);
  model->tokenizer_ = Tokenizer::from_folder(path);
  model->tokenizer_->require(kControlTokens);
  model->tokenizer_->check_fits(config.text.vocab_size);
  if (auto defaults = GenerationDefaults::from_folder(path)) {
    model->generation_ = std::move(*defaults);
  }
  auto& ends = model->generation_.eos_token_ids;
  for (const std::int32_t id : config.eos_token_ids) {
    if (std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  }
  for (const std::int32_t id : ends) {
    if (id < 0 || id >= config.text.vocab_size) {
      throw Error(ErrorCode::kModel, path, "eos_token_id",
                  "outside the vocabulary (got " + std::to_string(id) + ", expected below " +
                      std::to_string(config.text.vocab_size) + ")");
    }
  }
  if (const auto text = read_chat_template(path)) {
    const ChatTemplate chat = recognise_chat_template(*text);
    model->chat_layout_ = chat.layout;
    if (!chat.warning.empty()) model->warnings_.push_back(chat.warning);
  }
  model->bind(open_checkpoint(path), options);
  return model;
}

void Model::bind(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  weight_bytes_ = packed_bytes(*checkpoint);
  require_threads(options.threads);
  require_memory(path_, weight_bytes_ + options.extra_bytes);
  const auto odd = checkpoint->warnings();
  warnings_.insert(warnings_.end(), odd.begin(), odd.end());
  auto weights = std::make_unique<Weights>(load_weights(std::move(checkpoint), config_, options.threads));
  warnings_.insert(warnings_.end(), weights->warnings.begin(), weights->warnings.end());
  weights_ = std::move(weights);
}

}  // namespace tessera::qwen3vl
