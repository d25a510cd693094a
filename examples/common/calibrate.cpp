#include "examples/common/calibrate.h"

#include <algorithm>
#include <filesystem>
#include <span>

#include "examples/common/dataset.h"

namespace tessera::programs {
namespace {

constexpr std::int64_t kWindow = 512;       // tokens
constexpr std::int64_t kMaxContext = 8192;  // of a conversation

qwen3vl::SessionOptions session_options(const qwen3vl::Model& model, int threads, std::int64_t context) {
  qwen3vl::SessionOptions session;
  session.threads = threads;
  session.context = std::min(context, model.config().text.max_position_embeddings);
  session.cache_dtype = DType::kF32;
  return session;
}

bool read_questions(qwen3vl::Calibrator& calibrator, const qwen3vl::Model& model, const std::string& file,
                    const CalibrateOptions& options) {
  const std::vector<Example> examples = without_videos(read_examples(file), file);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const Example& example = examples[i];
    try {
      Sequence sequence = question(model, example);
      if (example.answer) {
        const auto answer = answer_tokens(model.tokenizer(), *example.answer);
        sequence.ids.insert(sequence.ids.end(), answer.begin(), answer.end());
      }
      if (!calibrator.add(sequence.ids, sequence.pictures, options.cancel)) return false;
    } catch (const Error& error) {
      throw at_line(error, file, example);
    }
    if (options.progress) options.progress(i + 1, examples.size());
  }
  return true;
}

bool read_text(qwen3vl::Calibrator& calibrator, const qwen3vl::Model& model, const std::string& file,
               std::int64_t window, const CalibrateOptions& options) {
  const std::vector<std::int32_t> tokens = read_text_tokens(model.tokenizer(), file);
  const auto size = static_cast<std::size_t>(window);
  const std::size_t windows = (tokens.size() + size - 1) / size;
  for (std::size_t i = 0; i < windows; ++i) {
    const auto ids = std::span(tokens).subspan(i * size);
    if (!calibrator.add(ids.first(std::min(size, ids.size())), {}, options.cancel)) return false;
    if (options.progress) options.progress(i + 1, windows);
  }
  return true;
}

}  // namespace

std::optional<qwen3vl::Importance> calibrate(const std::shared_ptr<const qwen3vl::Model>& model,
                                             const std::string& file, const CalibrateOptions& options) {
  const bool questions = std::filesystem::path(file).extension() == ".jsonl";
  const auto session = session_options(*model, options.threads, questions ? kMaxContext : kWindow);
  qwen3vl::Calibrator calibrator(model, session);
  const bool done = questions ? read_questions(calibrator, *model, file, options)
                              : read_text(calibrator, *model, file, session.context, options);
  if (!done) return std::nullopt;
  return calibrator.importance();
}

}  // namespace tessera::programs
