// The measurements: what a model says about a text, to questions, and beside another model.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "examples/common/dataset.h"
#include "examples/tessera_eval/statistics.h"
#include "models/qwen3vl/session.h"

namespace tessera::programs {

using ModelPointer = std::shared_ptr<const qwen3vl::Model>;

// How a session of each measurement is made; they choose the context themselves.
struct RunSettings {
  int threads = 1;
  std::optional<DType> cache_dtype;  // absent: the default of SessionOptions
};

// Part of a text, read from an empty cache: the logits after ids[first] and every later token but the last
// are scored, each against the token that follows.
struct TextWindow {
  std::span<const std::int32_t> ids;
  std::size_t first = 0;
};

// Whole windows of `window` tokens, first = window / 2; what is left over is dropped. Fewer tokens than that
// are one window with first = 0. `ids` has at least two tokens and must outlive the result.
std::vector<TextWindow> text_windows(std::span<const std::int32_t> ids, std::size_t window);

struct PerplexityResult {
  double value = 0, error = 0;
  std::size_t tokens = 0, scored = 0, windows = 0;  // tokens: in all windows
  double seconds = 0;
};
PerplexityResult measure_perplexity(const ModelPointer& model, std::span<const TextWindow> windows,
                                    const RunSettings& settings);

struct AnswersResult {
  std::vector<std::string> texts;  // without special tokens
  double seconds = 0;
};
// Greedy answers to the questions of `file` (for messages), of at most max_tokens tokens.
AnswersResult answer_questions(const ModelPointer& model, std::span<const Example> questions,
                               const std::string& file, std::int64_t max_tokens, const RunSettings& settings);

// Throws Error{kModel} naming both sizes unless the vocabularies are equally large.
void require_same_vocabulary(const qwen3vl::Model& model, const qwen3vl::Model& reference);

struct ModelPair {
  ModelPointer model, reference;
};
// Throws Error{kModel} when the models' tokenizers or preprocessing lay a question out differently.
Divergence text_divergence(const ModelPair& models, std::span<const TextWindow> windows,
                           const RunSettings& settings);
Divergence answer_divergence(const ModelPair& models, std::span<const Example> questions,
                             const std::string& file, const RunSettings& settings);

}  // namespace tessera::programs
