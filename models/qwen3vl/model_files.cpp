#include "models/qwen3vl/model_files.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "models/qwen3vl/gguf_config.h"
#include "models/qwen3vl/gguf_pair.h"
#include "models/text/chat.h"
#include "models/text/gguf_text.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

// Older exports spell the front of the names otherwise (spec/qwen3-vl.md §2.2, §10.1).
struct Alias {
  std::string_view canonical, alternative;
};
constexpr Alias kAliases[] = {
    {"model.language_model.", "language_model.model."},
    {"lm_head.", "language_model.lm_head."},
    {"model.visual.", "visual."},
    {"model.language_model.", "model."},
};

std::string canonical_name(const std::string& name) {
  if (name.starts_with("model.language_model.") || name.starts_with("model.visual.")) return name;
  for (const Alias& alias : kAliases) {
    if (!name.starts_with(alias.alternative)) continue;
    return std::string(alias.canonical) + name.substr(alias.alternative.size());
  }
  return name;
}

std::shared_ptr<const Checkpoint> canonical_checkpoint(std::unique_ptr<Checkpoint> checkpoint) {
  std::vector<std::string> names;
  for (const Checkpoint::Entry& entry : checkpoint->entries()) {
    const std::string name = canonical_name(entry.name);
    names.push_back(checkpoint->contains(name) ? entry.name : name);
  }
  Checkpoint::Parts parts = std::move(*checkpoint).release();
  for (std::size_t i = 0; i < names.size(); ++i) parts.entries[i].name = names[i];
  return std::make_shared<const Checkpoint>(std::move(parts));
}

// What config.json says ends an answer counts beside what generation_config.json says.
void merge_eos(const Config& config, const std::string& path, std::vector<std::int32_t>* ends) {
  for (const std::int32_t id : config.eos_token_ids) {
    if (std::find(ends->begin(), ends->end(), id) == ends->end()) ends->push_back(id);
  }
  for (const std::int32_t id : *ends) {
    if (id < 0 || id >= config.text.vocab_size) {
      throw Error(ErrorCode::kModel, path, "eos_token_id",
                  "outside the vocabulary (got " + std::to_string(id) + ", expected below " +
                      std::to_string(config.text.vocab_size) + ")");
    }
  }
}

ModelFiles open_folder(const std::string& path) {
  ModelFiles files;
  files.path = path;
  files.config = config_from_folder(path);
  files.preprocess = preprocess_config_from_folder(path, files.config.vision);
  files.tokenizer = tokenizer_parts_from_folder(path);
  files.generation = GenerationDefaults::from_folder(path).value_or(GenerationDefaults());
  files.chat_template = read_chat_template(path);
  files.checkpoint = canonical_checkpoint(open_checkpoint(path));
  return files;
}

ModelFiles open_pair(const std::string& path, const std::string& mmproj) {
  GgufPair pair = open_gguf_pair(path, mmproj);
  const GgufMetadata& text = pair.text.metadata;
  ModelFiles files;
  files.path = text.file();
  files.mmproj = pair.vision.metadata.file();
  files.tokenizer = tokenizer_parts_from_gguf(text);
  files.config = config_from_gguf(pair.text, pair.vision, files.tokenizer);
  files.preprocess = preprocess_config_from_gguf(pair.vision.metadata, files.config.vision);
  files.generation = generation_defaults_from_gguf(text, files.tokenizer);
  files.chat_template = text.find_string("tokenizer.chat_template");
  files.checkpoint = gguf_checkpoint(std::move(pair), files.config);
  return files;
}

}  // namespace

ModelFiles open_model_files(const std::string& path, const std::string& mmproj) {
  const bool gguf = is_gguf(path);
  if (!gguf && !mmproj.empty()) {
    throw Error(ErrorCode::kUsage, mmproj, "--mmproj",
                "goes with a GGUF file, not with the folder " + escape(path));
  }
  ModelFiles files = gguf ? open_pair(path, mmproj) : open_folder(path);
  merge_eos(files.config, files.path, &files.generation.eos_token_ids);
  const auto odd = files.checkpoint->warnings();
  files.warnings.insert(files.warnings.end(), odd.begin(), odd.end());
  return files;
}

}  // namespace tessera::qwen3vl
