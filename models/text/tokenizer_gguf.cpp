#include <algorithm>

#include "models/text/gguf_text.h"
#include "tensor/error.h"

namespace tessera {
namespace {

constexpr char kTokens[] = "tokenizer.ggml.tokens", kTypes[] = "tokenizer.ggml.token_type",
               kScores[] = "tokenizer.ggml.scores", kMerges[] = "tokenizer.ggml.merges";

// token_type, as in llama.h.
enum TokenType : std::int64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

void expect_text(const GgufMetadata& metadata, const std::string& key, const std::string& expected) {
  const std::string text = metadata.string(key);
  if (text == expected) return;
  throw Error(ErrorCode::kUnsupported, metadata.file(), key,
              "not supported (got \"" + escape(text, 100) + "\", expected \"" + expected + "\")");
}

std::vector<std::string> read_strings(const GgufMetadata& metadata, const char* key, std::size_t limit) {
  const GgufValue* const value = metadata.find(key);
  if (value && value->type() == GgufType::kArray && value->count() > limit) {
    metadata.fail(key, "too many entries (got " + std::to_string(value->count()) + ", limit " +
                           std::to_string(limit) + ")");
  }
  return metadata.strings(key);
}

// An array beside the tokens, of `types`.
void check_array(const GgufMetadata& metadata, const char* key, std::size_t tokens,
                 std::initializer_list<GgufType> types) {
  const GgufValue* const value = metadata.find(key);
  if (!value) return;
  if (value->type() != GgufType::kArray ||
      std::find(types.begin(), types.end(), value->element_type()) == types.end()) {
    metadata.fail(key, "wrong type (got " + value->describe() + ", expected an array of " +
                           std::string(gguf_type_name(*types.begin())) + ")");
  }
  if (value->count() != tokens) {
    metadata.fail(key, "differs in length from " + std::string(kTokens) + " (got " +
                           std::to_string(value->count()) + ", expected " + std::to_string(tokens) + ")");
  }
}

}  // namespace

TokenizerParts tokenizer_parts_from_gguf(const GgufMetadata& metadata) {
  expect_text(metadata, "tokenizer.ggml.model", "gpt2");
  expect_text(metadata, "tokenizer.ggml.pre", "qwen2");
  TokenizerParts parts;
  parts.source = metadata.file();
  parts.tokens = read_strings(metadata, kTokens, kMaxTokens);
  parts.merges = read_strings(metadata, kMerges, kMaxMerges);
  check_array(metadata, kTypes, parts.tokens.size(), {GgufType::kI32, GgufType::kU32});
  check_array(metadata, kScores, parts.tokens.size(), {GgufType::kF32});
  const std::vector<std::int64_t> types = metadata.integers(kTypes, kNormal, kByte);
  for (std::size_t id = 0; id < types.size(); ++id) {
    std::string& token = parts.tokens[id];
    const std::int64_t type = types[id];
    if (type == kUnknown || type == kByte) {
      throw Error(ErrorCode::kUnsupported, metadata.file(), kTypes + ("[" + std::to_string(id) + "]"),
                  "not supported in a byte-level vocabulary (got " + std::to_string(type) +
                      ", expected 1, 3, 4 or 5)");
    }
    const bool unused = type == kUnused || token == "[PAD" + std::to_string(id) + "]";
    if (!unused && (type == kControl || type == kUserDefined)) {
      parts.added.push_back({static_cast<std::int32_t>(id), token, type == kControl});
    }
    if (unused || type != kNormal) token.clear();
  }
  while (!parts.tokens.empty() && parts.tokens.back().empty()) parts.tokens.pop_back();
  return parts;
}

}  // namespace tessera
