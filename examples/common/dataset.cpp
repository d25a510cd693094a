#include "examples/common/dataset.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "examples/common/json_text.h"
#include "examples/common/pictures.h"
#include "examples/common/program.h"
#include "models/text/chat.h"
#include "models/text/tokenizer.h"

namespace tessera::programs {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;
constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxImages = 64;  // reliability.md §3.0

// One line of the file, with the errors that name it.
class Line {
 public:
  Line(const std::string& file, std::size_t number) : file_(file), number_(number) {}

  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorCode::kInput, file_, "line " + std::to_string(number_), reason);
  }

  Example read(std::string_view text) const {
    if (text.size() > kMaxLineBytes)
      fail("too long (expected at most " + std::to_string(kMaxLineBytes) + " bytes)");
    const auto value = parse_json_text(text, kMaxDepth);
    if (!value || !value->is_object()) fail("no JSON object");
    Example example;
    example.line = number_;
    example.images = images(*value);
    const auto prompt = find_string(*value, "prompt");
    if (!prompt) fail("\"prompt\" is missing");
    example.prompt = *prompt;
    example.answer = find_string(*value, "answer");
    example.kind = find_string(*value, "kind").value_or("");
    example.has_video = value->contains("video");
    if (example.prompt.empty() && example.images.empty()) fail("\"prompt\" is empty and there is no picture");
    return example;
  }

 private:
  std::optional<std::string> find_string(const json& object, const char* key) const {
    const auto found = object.find(key);
    if (found == object.end()) return std::nullopt;
    if (!found->is_string()) fail("\"" + std::string(key) + "\" is no string");
    return found->get<std::string>();
  }

  std::vector<std::string> images(const json& object) const {
    const auto found = object.find("images");
    if (found == object.end()) return {};
    if (!found->is_array()) fail("\"images\" is no list of paths");
    if (found->size() > kMaxImages) {
      fail("too many pictures (got " + std::to_string(found->size()) + ", expected at most " +
           std::to_string(kMaxImages) + ")");
    }
    std::vector<std::string> paths;
    for (const json& name : *found) {
      if (!name.is_string()) fail("\"images\" is no list of paths");
      const std::filesystem::path path = name.get<std::string>();
      paths.push_back((std::filesystem::path(file_).parent_path() / path).string());
      // Reading comes when the question's turn comes; a wrong name should not have to wait for it.
      if (::access(paths.back().c_str(), R_OK) != 0)
        fail("picture " + escape(paths.back()) + " cannot be opened: " + std::strerror(errno));
    }
    return paths;
  }

  const std::string& file_;
  std::size_t number_;
};

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

std::vector<Example> read_examples(const std::string& file) {
  const std::string content = read_input_file(file, kMaxFileBytes);
  std::vector<Example> examples;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    const std::string_view text = std::string_view(content).substr(begin, end - begin);
    ++number;
    if (!is_blank(text)) examples.push_back(Line(file, number).read(text));
    begin = end + 1;
  }
  if (examples.empty()) throw Error(ErrorCode::kInput, file, "", "empty");
  return examples;
}

std::vector<Example> without_videos(std::vector<Example> examples, const std::string& file) {
  const auto count = std::erase_if(examples, [](const Example& example) { return example.has_video; });
  if (count > 0)
    warn(escape(file) + ": questions about clips left out: " + std::to_string(count) + " (no video yet)");
  if (examples.empty()) throw Error(ErrorCode::kInput, file, "", "holds only questions about clips");
  return examples;
}

Error at_line(const Error& error, const std::string& file, const Example& example) {
  if (!error.file().empty()) return error;
  return Error(error.code(), file, "line " + std::to_string(example.line),
               error.field() + (error.field().empty() ? "" : ": ") + error.reason());
}

Sequence question(const qwen3vl::Model& model, const Example& example) {
  Sequence sequence;
  Message message{Role::kUser, {}};
  std::vector<std::int64_t> counts;
  for (const std::string& path : example.images) {
    const Picture picture = read_picture(path, model.preprocess());
    counts.push_back(picture.tokens);
    sequence.pictures.push_back(preprocess_image(picture.image, model.preprocess()));
    message.content.push_back({PartKind::kImage, {}, {}});
  }
  if (!example.prompt.empty()) message.content.push_back({PartKind::kText, example.prompt, {}});
  const auto ids = encode_chat(model.tokenizer(), {&message, 1}, model.chat_layout());
  sequence.ids = expand_pads(ids, model.config().image_token_id, counts);
  return sequence;
}

std::vector<std::int32_t> answer_tokens(const Tokenizer& tokenizer, const std::string& answer) {
  std::vector<std::int32_t> ids = tokenizer.encode(answer, SpecialTokens::kAsText);
  ids.push_back(tokenizer.id_of("<|im_end|>").value());
  return ids;
}

std::vector<std::int32_t> read_text_tokens(const Tokenizer& tokenizer, const std::string& file) {
  const std::string text = read_input_file(file, kMaxTextBytes);
  if (text.empty()) throw Error(ErrorCode::kInput, file, "", "empty");
  if (const auto at = find_invalid_utf8(text))
    warn(escape(file) + ": invalid UTF-8 at byte " + std::to_string(*at) + " is read as U+FFFD");
  return tokenizer.encode(text, SpecialTokens::kAsText);
}

}  // namespace tessera::programs
