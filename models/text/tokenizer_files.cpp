#include <charconv>
#include <filesystem>
#include <initializer_list>

#include "models/files/json.h"
#include "models/text/pre_tokenizer.h"
#include "models/text/vocabulary.h"
#include "tensor/error.h"

namespace tessera {
namespace {

using nlohmann::json;

// Throws kUnsupported: the file asks for something that this tokenizer does not do.
[[noreturn]] void unsupported(const JsonObject& object, std::string_view key, const std::string& expected) {
  const json* value = object.find(key);
  const std::string got = value == nullptr     ? "nothing"
                          : value->is_string() ? "\"" + value->get<std::string>() + "\""
                                               : describe(*value);
  throw Error(ErrorCode::kUnsupported, object.file(), object.path(key),
              "not supported (got " + got + ", expected " + expected + ")");
}

void expect_text(const JsonObject& object, std::string_view key, std::string_view expected) {
  if (object.find_string(key) != expected) unsupported(object, key, "\"" + std::string(expected) + "\"");
}

void expect_false(const JsonObject& object, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (object.find_boolean(key).value_or(false)) unsupported(object, key, "false");
  }
}

void expect_empty(const JsonObject& object, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (!object.find_string(key).value_or("").empty()) unsupported(object, key, "\"\" or null");
  }
}

// The object at `key`, unsupported when there is none.
JsonObject step(const JsonObject& parent, std::string_view key) {
  const auto object = parent.find_object(key);
  if (!object) unsupported(parent, key, "an object");
  return *object;
}

void check_pre_tokenizer(const JsonObject& root) {
  const JsonObject sequence = step(root, "pre_tokenizer");
  expect_text(sequence, "type", "Sequence");
  const json& steps = sequence.array("pretokenizers");
  if (steps.size() != 2) unsupported(sequence, "pretokenizers", "Split and ByteLevel");

  const JsonObject split(steps[0], root.file(), sequence.path("pretokenizers[0]"));
  expect_text(split, "type", "Split");
  expect_text(step(split, "pattern"), "Regex", kQwenPattern);
  expect_text(split, "behavior", "Isolated");
  expect_false(split, {"invert"});

  const JsonObject bytes(steps[1], root.file(), sequence.path("pretokenizers[1]"));
  expect_text(bytes, "type", "ByteLevel");
  // Both are true when the key is missing.
  for (const std::string_view key : {"add_prefix_space", "use_regex"}) {
    if (bytes.find_boolean(key).value_or(true)) unsupported(bytes, key, "false");
  }
}

void check_pipeline(const JsonObject& root) {
  expect_text(step(root, "normalizer"), "type", "NFC");
  check_pre_tokenizer(root);
  expect_text(step(root, "decoder"), "type", "ByteLevel");
  // ByteLevel only trims offsets here; others add tokens at the ends.
  if (const auto post = root.find_object("post_processor")) expect_text(*post, "type", "ByteLevel");

  const JsonObject model = root.object("model");
  expect_text(model, "type", "BPE");
  expect_false(model, {"byte_fallback", "ignore_merges"});
  expect_empty(model, {"continuing_subword_prefix", "end_of_word_suffix"});
  if (model.find_number("dropout", 0, 1).value_or(0) != 0) unsupported(model, "dropout", "null");
}

AddedToken read_added(const JsonObject& entry, std::int64_t id) {
  expect_false(entry, {"single_word", "lstrip", "rstrip", "normalized"});
  return {static_cast<std::int32_t>(id), entry.string("content"),
          entry.find_boolean("special").value_or(false)};
}

std::vector<std::string> read_vocab(const JsonObject& vocab) {
  if (vocab.value().size() > kMaxTokens) {
    throw Error(ErrorCode::kModel, vocab.file(), vocab.path(""),
                "too many tokens (got " + std::to_string(vocab.value().size()) + ", limit " +
                    std::to_string(kMaxTokens) + ")");
  }
  std::vector<std::string> tokens(vocab.value().size());
  for (const auto& [text, value] : vocab.value().items()) {
    const auto id = static_cast<std::size_t>(vocab.integer(text, 0, std::int64_t{kMaxTokens} - 1));
    if (text.empty()) vocab.fail(text, "the token is empty");
    if (id >= tokens.size()) tokens.resize(id + 1);
    if (!tokens[id].empty())
      vocab.fail(text, "the id of \"" + tokens[id] + "\" too (got " + std::to_string(id) + ")");
    tokens[id] = text;
  }
  return tokens;
}

// Entries are "left right" in older files and ["left", "right"] in newer ones.
std::vector<std::string> read_merges(const JsonObject& model) {
  std::vector<std::string> merges;
  const json& list = model.array("merges");
  merges.reserve(std::min(list.size(), kMaxMerges));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json& merge = list[i];
    if (merge.is_string()) {
      merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.push_back(merge[0].get_ref<const std::string&>() + " " + merge[1].get_ref<const std::string&>());
    } else {
      model.fail("merges[" + std::to_string(i) + "]", "must be two tokens (got " + describe(merge) + ")");
    }
  }
  return merges;
}

std::vector<AddedToken> read_added_tokens_decoder(const std::string& path) {
  const json document = read_json_file(path, kMaxConfigBytes);
  const JsonObject decoder = JsonObject(document, path).object("added_tokens_decoder");
  std::vector<AddedToken> added;
  for (const auto& [key, value] : decoder.value().items()) {
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size()) decoder.fail(key, "the key is no token id");
    added.push_back(read_added(decoder.object(key), id));
  }
  return added;
}

}  // namespace

TokenizerParts read_tokenizer_json(const std::string& path) {
  const json document = read_json_file(path, kMaxTokenizerBytes);
  const JsonObject root(document, path);
  check_pipeline(root);
  const JsonObject model = root.object("model");
  TokenizerParts parts;
  parts.source = path;
  parts.tokens = read_vocab(model.object("vocab"));
  parts.merges = read_merges(model);
  if (root.find("added_tokens") == nullptr) return parts;
  const json& added = root.array("added_tokens");
  for (std::size_t i = 0; i < added.size(); ++i) {
    const JsonObject entry(added[i], path, root.path("added_tokens[" + std::to_string(i) + "]"));
    parts.added.push_back(read_added(entry, entry.integer("id", 0, std::int64_t{kMaxTokens} - 1)));
  }
  return parts;
}

TokenizerParts read_vocab_and_merges(const std::string& directory) {
  TokenizerParts parts;
  parts.source = directory + "/vocab.json";
  const json vocab = read_json_file(parts.source, kMaxTokenizerBytes);
  parts.tokens = read_vocab(JsonObject(vocab, parts.source));

  const std::string text = read_text_file(directory + "/merges.txt", kMaxTokenizerBytes);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool header = parts.merges.empty() && line.starts_with("#version");
    if (!line.empty() && !header) parts.merges.emplace_back(line);
  }
  parts.added = read_added_tokens_decoder(directory + "/tokenizer_config.json");
  return parts;
}

TokenizerParts tokenizer_parts_from_folder(const std::string& directory) {
  const std::string path = directory + "/tokenizer.json";
  std::error_code ignored;
  const bool whole =
      std::filesystem::exists(path, ignored) || !std::filesystem::exists(directory + "/vocab.json", ignored);
  return whole ? read_tokenizer_json(path) : read_vocab_and_merges(directory);
}

Tokenizer Tokenizer::from_folder(const std::string& directory) {
  return Tokenizer(tokenizer_parts_from_folder(directory));
}

}  // namespace tessera
