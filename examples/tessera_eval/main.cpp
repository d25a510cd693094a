// tessera-eval: how good a model is, and how far from another. `tessera-eval --help` says how.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "examples/common/dataset.h"
#include "examples/common/program.h"
#include "examples/common/signals.h"
#include "examples/tessera_eval/evaluate.h"
#include "examples/tessera_eval/options.h"
#include "examples/tessera_eval/report.h"
#include "models/qwen3vl/model.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

constexpr std::int64_t kDefaultWindow = 512;  // as llama.cpp's perplexity
constexpr std::int64_t kDefaultAnswer = 250;  // tokens; longer than any wanted answer of the task sets

ModelPointer open_model(const ModelSource& source, int threads) {
  const auto model = qwen3vl::Model::load(qwen3vl::open_model_files(source.path, source.mmproj),
                                          {.threads = threads, .recipe = source.recipe});
  for (const std::string& text : model->warnings()) warn(text);
  return model;
}

std::vector<Example> read_questions(const std::string& file) {
  std::vector<Example> questions = read_examples(file);
  for (const Example& example : questions) {
    if (!example.answer)
      throw Error(ErrorCode::kInput, file, "line " + std::to_string(example.line), "\"answer\" is missing");
  }
  return questions;
}

std::int64_t window_size(const EvalOptions& o, const qwen3vl::Model& model) {
  const std::int64_t maximum = model.config().text.max_position_embeddings;
  const std::int64_t window = o.window.value_or(std::min(kDefaultWindow, maximum));
  if (window > maximum) {
    throw Error(ErrorCode::kUsage, "", "-c",
                "more than the model takes (got " + std::to_string(window) + ", expected at most " +
                    std::to_string(maximum) + ")");
  }
  return window;
}

std::vector<std::int32_t> read_text(const EvalOptions& o, const qwen3vl::Model& model) {
  std::vector<std::int32_t> tokens = read_text_tokens(model.tokenizer(), *o.text);
  if (tokens.size() < 2)
    throw Error(ErrorCode::kInput, *o.text, "", "too short (got 1 token, expected at least 2)");
  return tokens;
}

std::string answer_lines(const std::vector<std::string>& texts) {
  std::string lines;
  for (const std::string& text : texts) lines += nlohmann::json{{"text", text}}.dump() + "\n";
  return lines;
}

void measure(const EvalOptions& o, const ModelPointer& model, std::span<const Example> questions,
             EvalReport& report) {
  const RunSettings settings{o.threads, o.cache_dtype};
  if (o.text) {
    const auto tokens = read_text(o, *model);
    const auto windows = text_windows(tokens, static_cast<std::size_t>(window_size(o, *model)));
    report.perplexity = measure_perplexity(model, windows, settings);
  }
  if (o.tasks) {
    const auto answers =
        answer_questions(model, questions, *o.tasks, o.max_tokens.value_or(kDefaultAnswer), settings);
    report.tasks = {.scores = score_answers(questions, answers.texts), .seconds = answers.seconds};
    if (o.answers) write_file(*o.answers, answer_lines(answers.texts));
  }
}

void compare(const EvalOptions& o, const ModelPointer& model, std::span<const Example> questions,
             EvalReport& report) {
  const RunSettings settings{o.threads, o.cache_dtype};
  const ModelPair models{model, open_model({.path = *o.reference}, o.threads)};
  require_same_vocabulary(*models.model, *models.reference);
  report.reference = o.reference;
  if (o.text) {
    const auto tokens = read_text(o, *model);
    if (read_text(o, *models.reference) != tokens)
      throw Error(ErrorCode::kModel, o.model.path, "tokens",
                  "the text becomes other tokens than with the reference");
    const std::int64_t window = std::min(window_size(o, *model), window_size(o, *models.reference));
    const auto windows = text_windows(tokens, static_cast<std::size_t>(window));
    report.text_divergence = text_divergence(models, windows, settings);
  }
  if (o.tasks) report.task_divergence = answer_divergence(models, questions, *o.tasks, settings);
}

int run(int argc, const char* const* argv) {
  const EvalOptions o = parse_eval_options(argc, argv);
  install_signal_handlers(o.reference ? o.model.path + " or " + *o.reference : o.model.path);
  std::vector<Example> questions;
  std::size_t left_out = 0;
  if (o.tasks) {
    questions = read_questions(*o.tasks);
    const std::size_t all = questions.size();
    questions = without_videos(std::move(questions), *o.tasks);
    left_out = all - questions.size();
  }
  EvalReport report;
  report.model = o.model.path;
  const ModelPointer model = open_model(o.model, o.threads);
  if (o.reference) {
    compare(o, model, questions, report);
  } else {
    measure(o, model, questions, report);
  }
  if (report.tasks) report.tasks->left_out = left_out;
  if (o.json) write_file(*o.json, eval_json(report));
  print(eval_table(report));
  return 0;
}

}  // namespace
}  // namespace tessera::programs

int main(int argc, char** argv) {
  return tessera::programs::run_program([&] { return tessera::programs::run(argc, argv); });
}
