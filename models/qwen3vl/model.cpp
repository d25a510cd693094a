#include "models/qwen3vl/model.h"

#include <utility>

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
  model->warnings_.assign(checkpoint->warnings().begin(), checkpoint->warnings().end());
  model->bind(std::move(checkpoint), options);
  return model;
}

std::shared_ptr<const Model> Model::load(const std::string& path, const LoadOptions& options) {
  return load(open_model_files(path), options);
}

std::shared_ptr<const Model> Model::load(ModelFiles files, const LoadOptions& options) {
  std::shared_ptr<Model> model(new Model);
  model->tokenizer_ = Tokenizer(files.tokenizer);
  model->tokenizer_->require(kControlTokens);
  model->tokenizer_->check_fits(files.config.text.vocab_size);
  model->path_ = std::move(files.path);
  model->config_ = std::move(files.config);
  model->preprocess_ = files.preprocess;
  model->generation_ = std::move(files.generation);
  model->warnings_ = std::move(files.warnings);
  if (files.chat_template) {
    const ChatTemplate chat = recognise_chat_template(*files.chat_template);
    model->chat_layout_ = chat.layout;
    if (!chat.warning.empty()) model->warnings_.push_back(chat.warning);
  }
  model->bind(std::move(files.checkpoint), options);
  return model;
}

void Model::bind(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  const WeightOptions how{options.threads, options.recipe};
  const WeightBytes bytes = qwen3vl::weight_bytes(*checkpoint, config_, how);
  weight_bytes_ = bytes.kept;
  require_threads(options.threads);
  require_memory(path_, bytes.peak + options.extra_bytes);
  auto weights = std::make_unique<Weights>(load_weights(std::move(checkpoint), config_, how));
  warnings_.insert(warnings_.end(), weights->warnings.begin(), weights->warnings.end());
  weights_ = std::move(weights);
}

}  // namespace tessera::qwen3vl
