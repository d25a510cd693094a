#include "examples/tessera_eval/evaluate.h"

#include <algorithm>
#include <cstdio>

#include "examples/common/progress.h"
#include "examples/common/progress_line.h"
#include "models/text/sampler.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

using qwen3vl::Session;

constexpr std::size_t kPiece = 64;               // rows whose logits are held at once
constexpr std::int64_t kQuestionContext = 8192;  // tokens of a question with its answer

Session make_session(const ModelPointer& model, std::int64_t context, const RunSettings& settings) {
  qwen3vl::SessionOptions options;
  options.threads = settings.threads;
  options.context = context;
  options.cache_dtype = settings.cache_dtype;
  return Session(model, options);
}

std::int64_t question_context(const qwen3vl::Model& model) {
  return std::min(kQuestionContext, model.config().text.max_position_embeddings);
}

std::int64_t longest(std::span<const TextWindow> windows) {
  std::size_t tokens = 1;
  for (const TextWindow& window : windows) tokens = std::max(tokens, window.ids.size());
  return static_cast<std::int64_t>(tokens);
}

std::vector<qwen3vl::PictureFeatures> encode(Session& session, std::span<const PixelValues> pictures) {
  std::vector<qwen3vl::PictureFeatures> features;
  for (const PixelValues& picture : pictures) features.push_back(session.encode(picture).value());
  return features;
}

// The logits after tokens first … n - 2 of a sequence, some rows at a time.
class LogitReader {
 public:
  LogitReader(Session& session, const TextWindow& text, std::span<const PixelValues> pictures = {})
      : session_(session), text_(text) {
    session_.clear();
    features_ = encode(session_, pictures);
  }

  // False at the end.
  bool next() {
    const std::size_t end = text_.ids.size() - 1;
    row_ = at_ == 0 ? text_.first : at_;
    if (at_ == 0) {
      at_ = text_.first + 1;
      logits_ = session_.prefill(text_.ids.first(at_), features_);
      width_ = logits_.size();
      return true;
    }
    const std::size_t count = std::min(kPiece, end - at_);
    if (count == 0) return false;
    logits_ = session_.prefill_all(text_.ids.subspan(at_, count));
    at_ += count;
    return true;
  }

  // Of the rows that next() read.
  std::size_t rows() const { return logits_.size() / width_; }
  std::span<const float> logits(std::size_t i) const { return logits_.subspan(i * width_, width_); }
  std::int32_t token_after(std::size_t i) const { return text_.ids[row_ + i + 1]; }

 private:
  Session& session_;
  TextWindow text_;
  std::vector<qwen3vl::PictureFeatures> features_;
  std::size_t at_ = 0, row_ = 0, width_ = 0;
  std::span<const float> logits_;
};

void compare(LogitReader reference, LogitReader model, DivergenceSum& sum) {
  while (reference.next() && model.next()) {
    for (std::size_t i = 0; i < reference.rows(); ++i) sum.add(reference.logits(i), model.logits(i));
  }
}

std::string counted(const char* what, std::size_t i, std::size_t total) {
  return std::string(what) + " " + std::to_string(i + 1) + " of " + std::to_string(total);
}

std::string so_far(double perplexity) {
  char text[48];
  std::snprintf(text, sizeof text, ", perplexity so far %.4f", perplexity);
  return text;
}

std::string greedy_answer(const qwen3vl::Model& model, Session& session, const Sequence& sequence,
                          std::int64_t max_tokens) {
  const auto& ends = model.generation().eos_token_ids;
  SamplerOptions options = model.generation().sampler_options();
  options.temperature = 0;
  Sampler sampler(options);
  sampler.add_prompt(sequence.ids);
  session.clear();
  const auto features = encode(session, sequence.pictures);
  std::span<const float> logits = session.prefill(sequence.ids, features);
  std::vector<std::int32_t> answer;
  while (true) {
    const std::int32_t id = sampler.sample(logits);
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) break;
    answer.push_back(id);
    if (static_cast<std::int64_t>(answer.size()) == max_tokens || session.remaining() == 0) break;
    logits = session.decode(id);
  }
  return model.tokenizer().decode(answer, SkipSpecial::kYes);
}

// A question with the answer that is wanted; the answer's tokens are scored.
void compare_answer(const ModelPair& models, const Example& example, Session& reference_session,
                    Session& model_session, DivergenceSum& sum) {
  const Sequence asked = question(*models.model, example);
  const Sequence reference_asked = question(*models.reference, example);
  const auto answer = answer_tokens(models.model->tokenizer(), example.answer.value());
  const auto reference_answer = answer_tokens(models.reference->tokenizer(), *example.answer);
  if (asked.ids != reference_asked.ids || answer != reference_answer) {
    throw Error(ErrorCode::kModel, models.model->path(), "tokens",
                "a question becomes other tokens than with " + escape(models.reference->path()));
  }
  std::vector<std::int32_t> ids = asked.ids;
  ids.insert(ids.end(), answer.begin(), answer.end());
  const TextWindow text{ids, asked.ids.size() - 1};
  compare(LogitReader(reference_session, text, reference_asked.pictures),
          LogitReader(model_session, text, asked.pictures), sum);
}

}  // namespace

std::vector<TextWindow> text_windows(std::span<const std::int32_t> ids, std::size_t window) {
  if (ids.size() < window) return {{ids, 0}};
  std::vector<TextWindow> windows;
  for (std::size_t at = 0; at + window <= ids.size(); at += window)
    windows.push_back({ids.subspan(at, window), window / 2});
  return windows;
}

PerplexityResult measure_perplexity(const ModelPointer& model, std::span<const TextWindow> windows,
                                    const RunSettings& settings) {
  Session session = make_session(model, longest(windows), settings);
  ProgressLine progress;
  PerplexitySum sum;
  PerplexityResult result;
  const double begin = monotonic_seconds();
  for (std::size_t w = 0; w < windows.size(); ++w) {
    progress.show(counted("window", w, windows.size()) + (w > 0 ? so_far(sum.value()) : ""));
    LogitReader reader(session, windows[w]);
    while (reader.next()) {
      for (std::size_t i = 0; i < reader.rows(); ++i) sum.add(reader.logits(i), reader.token_after(i));
    }
    result.tokens += windows[w].ids.size();
  }
  result.seconds = monotonic_seconds() - begin;
  result.value = sum.value();
  result.error = sum.error();
  result.scored = sum.tokens();
  result.windows = windows.size();
  return result;
}

AnswersResult answer_questions(const ModelPointer& model, std::span<const Example> questions,
                               const std::string& file, std::int64_t max_tokens,
                               const RunSettings& settings) {
  Session session = make_session(model, question_context(*model), settings);
  ProgressLine progress;
  AnswersResult result;
  const double begin = monotonic_seconds();
  for (std::size_t i = 0; i < questions.size(); ++i) {
    progress.show(counted("question", i, questions.size()));
    try {
      result.texts.push_back(greedy_answer(*model, session, question(*model, questions[i]), max_tokens));
    } catch (const Error& error) {
      throw at_line(error, file, questions[i]);
    }
  }
  result.seconds = monotonic_seconds() - begin;
  return result;
}

void require_same_vocabulary(const qwen3vl::Model& model, const qwen3vl::Model& reference) {
  const std::int64_t got = model.config().text.vocab_size, expected = reference.config().text.vocab_size;
  if (got == expected) return;
  throw Error(ErrorCode::kModel, model.path(), "vocab_size",
              "differs from that of the reference " + escape(reference.path()) + " (got " +
                  std::to_string(got) + ", expected " + std::to_string(expected) + ")");
}

Divergence text_divergence(const ModelPair& models, std::span<const TextWindow> windows,
                           const RunSettings& settings) {
  Session reference = make_session(models.reference, longest(windows), settings);
  Session model = make_session(models.model, longest(windows), settings);
  ProgressLine progress;
  DivergenceSum sum;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    progress.show(counted("window", w, windows.size()));
    compare(LogitReader(reference, windows[w]), LogitReader(model, windows[w]), sum);
  }
  return sum.result();
}

Divergence answer_divergence(const ModelPair& models, std::span<const Example> questions,
                             const std::string& file, const RunSettings& settings) {
  Session reference = make_session(models.reference, question_context(*models.reference), settings);
  Session model = make_session(models.model, question_context(*models.model), settings);
  ProgressLine progress;
  DivergenceSum sum;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    progress.show(counted("question", i, questions.size()));
    try {
      compare_answer(models, questions[i], reference, model, sum);
    } catch (const Error& error) {
      throw at_line(error, file, questions[i]);
    }
  }
  return sum.result();
}

}  // namespace tessera::programs
