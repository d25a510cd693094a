// What tessera-eval found, as a table and as a JSON object.
#pragma once

#include <optional>
#include <string>

#include "examples/tessera_eval/evaluate.h"
#include "examples/tessera_eval/scoring.h"

namespace tessera::programs {

struct TaskResult {
  TaskScores scores;
  std::size_t left_out = 0;  // questions about clips
  double seconds = 0;
};

struct EvalReport {
  std::string model;
  std::optional<std::string> reference;
  std::optional<PerplexityResult> perplexity;
  std::optional<TaskResult> tasks;
  std::optional<Divergence> text_divergence, task_divergence;
};

// A few lines for each measurement, for people.
std::string eval_table(const EvalReport& report);

// One JSON object; what was not measured has no member:
//   model, reference  paths as given
//   perplexity        {value, error, tokens, scored, windows, seconds, tokens_per_second}
//   tasks             {score, count, left_out, seconds, kinds: {KIND: {score, count}}}
//   divergence        {text: {…}, tasks: {…}} of {positions, mean, p99, max, top1_agreement, delta_p_mean,
//                     delta_p_max}: nats, and shares of 1 (Divergence)
std::string eval_json(const EvalReport& report);

}  // namespace tessera::programs
