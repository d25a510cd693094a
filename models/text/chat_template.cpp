#include <xxhash.h>

#include <filesystem>

#include "models/files/json.h"
#include "models/text/chat.h"
#include "tensor/error.h"

namespace tessera {
namespace {

std::string hex64(std::uint64_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) out[i] = digits[value & 15];
  return out;
}

// chat_template of a JSON file: a string, or a list of {name, template} of which the one named "default"
// counts.
std::optional<std::string> template_of(const std::string& path) {
  const nlohmann::json document = read_json_file(path, kMaxConfigBytes);
  const JsonObject root(document, path);
  const nlohmann::json* value = root.find("chat_template");
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) return root.string("chat_template");
  for (std::size_t i = 0; i < value->size(); ++i) {
    const JsonObject entry((*value)[i], path, root.path("chat_template[" + std::to_string(i) + "]"));
    if (entry.string("name") == "default") return entry.string("template");
  }
  return std::nullopt;
}

}  // namespace

ChatTemplate recognise_chat_template(std::string_view text) {
  const auto has = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  // Template files spell the newline of a string literal as \n; both are accepted.
  const auto opens_thinking =
      has(R"(<|im_start|>assistant\n<think>\n)") || has("<|im_start|>assistant\n<think>\n");
  const bool chat = has("<|im_start|>") && has("<|im_end|>") &&
                    has("<|vision_start|><|image_pad|><|vision_end|>") &&
                    (has(R"(<|im_start|>assistant\n)") || has("<|im_start|>assistant\n"));
  const bool switched = has("enable_thinking");
  const bool own_system_prompt = has("You are a helpful assistant");
  const bool halfway = has("<think>") && !opens_thinking;

  ChatTemplate found;
  found.layout = opens_thinking && !switched ? ChatLayout::kThinking : ChatLayout::kInstruct;
  if (!chat || switched || own_system_prompt || halfway) {
    found.warning = "the chat template is unknown (XXH3-64 " + hex64(XXH3_64bits(text.data(), text.size())) +
                    ") and is not executed; the " +
                    (found.layout == ChatLayout::kThinking ? "Thinking" : "Instruct") +
                    " layout of Qwen3-VL is used";
  }
  return found;
}

std::optional<std::string> read_chat_template(const std::string& directory) {
  const auto exists = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(directory + "/" + name, ignored);
  };
  if (exists("chat_template.jinja"))
    return read_text_file(directory + "/chat_template.jinja", kMaxConfigBytes);
  for (const char* name : {"tokenizer_config.json", "chat_template.json"}) {
    if (!exists(name)) continue;
    if (auto text = template_of(directory + "/" + name)) return text;
  }
  return std::nullopt;
}

}  // namespace tessera
