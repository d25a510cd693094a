#include <algorithm>
#include <filesystem>

#include "models/files/json.h"
#include "models/text/gguf_text.h"
#include "models/text/sampler.h"

namespace tessera {
namespace {

constexpr double kMaxValue = 1e6;
constexpr double kSmallest = 1e-6;

std::optional<std::int32_t> find_id(const JsonObject& root, std::string_view key) {
  const auto id = root.find_integer(key, 0, INT32_MAX);
  return id ? std::optional(static_cast<std::int32_t>(*id)) : std::nullopt;
}

void read_number(const JsonObject& root, std::string_view key, double min, double max, float* value) {
  if (const auto number = root.find_number(key, min, max)) *value = static_cast<float>(*number);
}

}  // namespace

GenerationDefaults GenerationDefaults::from_json(std::string_view text, const std::string& file) {
  const nlohmann::json document = parse_json(text, file);
  const JsonObject root(document, file);
  GenerationDefaults d;
  d.do_sample = root.find_boolean("do_sample").value_or(d.do_sample);
  read_number(root, "temperature", 0, kMaxValue, &d.temperature);
  read_number(root, "top_p", kSmallest, 1, &d.top_p);
  read_number(root, "min_p", 0, 1, &d.min_p);
  read_number(root, "repetition_penalty", kSmallest, kMaxValue, &d.repetition_penalty);
  d.top_k = static_cast<std::int32_t>(root.find_integer("top_k", 0, INT32_MAX).value_or(d.top_k));
  const nlohmann::json* eos = root.find("eos_token_id");
  if (eos != nullptr && eos->is_array()) {
    for (const std::int64_t id : root.integers("eos_token_id", 0, INT32_MAX)) {
      d.eos_token_ids.push_back(static_cast<std::int32_t>(id));
    }
  } else if (const auto id = find_id(root, "eos_token_id")) {
    d.eos_token_ids.push_back(*id);
  }
  d.pad_token_id = find_id(root, "pad_token_id");
  d.bos_token_id = find_id(root, "bos_token_id");
  return d;
}

std::optional<GenerationDefaults> GenerationDefaults::from_folder(const std::string& directory) {
  const std::string path = directory + "/generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  return from_json(read_text_file(path, kMaxConfigBytes), path);
}

GenerationDefaults generation_defaults_from_gguf(const GgufMetadata& metadata,
                                                 const TokenizerParts& tokenizer) {
  GenerationDefaults d;
  const auto number = [&](const char* key, double min, double max, float* value) {
    if (const auto found = metadata.find_number(key, min, max)) *value = static_cast<float>(*found);
    return *value;
  };
  d.do_sample = metadata.contains("general.sampling.temp") &&
                number("general.sampling.temp", 0, kMaxValue, &d.temperature) > 0;
  number("general.sampling.top_p", kSmallest, 1, &d.top_p);
  number("general.sampling.min_p", 0, 1, &d.min_p);
  number("general.sampling.penalty_repeat", kSmallest, kMaxValue, &d.repetition_penalty);
  d.top_k = static_cast<std::int32_t>(
      metadata.find_integer("general.sampling.top_k", 0, INT32_MAX).value_or(d.top_k));
  const auto id = [&](const char* key) {
    const auto found = metadata.find_integer(key, 0, INT32_MAX);
    return found ? std::optional(static_cast<std::int32_t>(*found)) : std::nullopt;
  };
  d.pad_token_id = id("tokenizer.ggml.padding_token_id");
  d.bos_token_id = id("tokenizer.ggml.bos_token_id");
  if (metadata.contains("tokenizer.ggml.eos_token_ids")) {
    for (const std::int64_t end : metadata.integers("tokenizer.ggml.eos_token_ids", 0, INT32_MAX)) {
      d.eos_token_ids.push_back(static_cast<std::int32_t>(end));
    }
    return d;
  }
  if (const auto end = id("tokenizer.ggml.eos_token_id")) d.eos_token_ids.push_back(*end);
  for (const AddedToken& token : tokenizer.added) {
    const auto& ends = d.eos_token_ids;
    if (token.special && token.text == "<|endoftext|>" &&
        std::find(ends.begin(), ends.end(), token.id) == ends.end()) {
      d.eos_token_ids.push_back(token.id);
    }
  }
  return d;
}

SamplerOptions GenerationDefaults::sampler_options() const {
  SamplerOptions options;
  options.temperature = do_sample ? temperature : 0;
  options.top_k = top_k;
  options.top_p = top_p;
  options.min_p = min_p;
  options.repetition_penalty = repetition_penalty;
  return options;
}

}  // namespace tessera
