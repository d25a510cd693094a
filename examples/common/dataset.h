// What a model is measured with or calibrated on: questions about pictures in a file of JSON lines, or plain
// text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/image/preprocess.h"
#include "models/qwen3vl/model.h"
#include "tensor/error.h"

namespace tessera::programs {

// One line: {"images": [path, …], "prompt": text, "answer": text, "kind": text}. `images`, `answer` and
// `kind` may be missing, other members are passed over.
struct Example {
  std::vector<std::string> images;  // relative paths in the file begin at its folder
  std::string prompt;
  std::optional<std::string> answer;
  std::string kind;        // empty where the line has none
  bool has_video = false;  // "video" is there: it asks about a clip
  std::size_t line = 0;    // in the file, from 1
};

// Empty lines are passed over. Throws Error{kInput} naming file and line for a line that is no such object or
// asks nothing, and for a picture that cannot be opened; naming the file when it holds no line.
std::vector<Example> read_examples(const std::string& file);
// Takes out the questions about clips, which cannot be asked yet, and says on standard error how many.
std::vector<Example> without_videos(std::vector<Example> examples, const std::string& file);
// An error that an example led to, with file and line of the example where it names no file of its own.
Error at_line(const Error& error, const std::string& file, const Example& example);

// Tokens and pictures as the model reads them.
struct Sequence {
  std::vector<std::int32_t> ids;  // placeholders expanded
  std::vector<PixelValues> pictures;
};

// The pictures, then the prompt as what a user typed, in the model's chat layout, up to where the answer
// begins. Throws Error{kInput} for a picture.
Sequence question(const qwen3vl::Model& model, const Example& example);
// The tokens of an answer and the <|im_end|> behind it.
std::vector<std::int32_t> answer_tokens(const Tokenizer& tokenizer, const std::string& answer);

// The tokens of a text file; texts of special tokens are plain characters. Throws Error{kInput} when it is
// empty.
std::vector<std::int32_t> read_text_tokens(const Tokenizer& tokenizer, const std::string& file);

}  // namespace tessera::programs
