#include "examples/tessera_eval/report.h"

#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace tessera::programs {
namespace {

using Json = nlohmann::ordered_json;

double tokens_per_second(const PerplexityResult& p) {
  return p.seconds > 0 ? static_cast<double>(p.tokens) / p.seconds : 0;
}

[[gnu::format(printf, 1, 2)]] std::string line(const char* format, ...) {
  char text[160];
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(text, sizeof text, format, values);
  va_end(values);
  return std::string(text) + "\n";
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

std::string perplexity_table(const PerplexityResult& p) {
  return line("perplexity     %.4f ± %.4f", p.value, p.error) +
         line("tokens scored  %zu of %zu, %zu windows", p.scored, p.tokens, p.windows) +
         line("speed          %.1f tokens/s", tokens_per_second(p));
}

std::string task_table(const TaskResult& tasks) {
  std::size_t width = 4;
  for (const auto& [kind, mean] : tasks.scores.kinds) width = std::max(width, escape(kind).size());
  std::string text = padded("kind", width) + "  count   score\n";
  auto row = [&](const std::string& kind, const TaskScores::Mean& mean) {
    text += padded(escape(kind), width) + line("  %5zu  %.4f", mean.count, mean.mean());
  };
  for (const auto& [kind, mean] : tasks.scores.kinds) row(kind, mean);
  row("all", tasks.scores.all);
  return text;
}

std::string divergence_row(const char* data, const Divergence& d) {
  return line("%-5s  %9zu  %9.6f  %9.6f  %9.6f  %8.3f  %9.6f  %9.6f", data, d.positions, d.mean, d.p99, d.max,
              100 * d.top1_agreement, d.delta_p_mean, d.delta_p_max);
}

Json divergence_json(const Divergence& d) {
  return {{"positions", d.positions},
          {"mean", d.mean},
          {"p99", d.p99},
          {"max", d.max},
          {"top1_agreement", d.top1_agreement},
          {"delta_p_mean", d.delta_p_mean},
          {"delta_p_max", d.delta_p_max}};
}

Json task_json(const TaskResult& tasks) {
  const TaskScores::Mean& all = tasks.scores.all;
  Json kinds = Json::object();
  for (const auto& [kind, mean] : tasks.scores.kinds)
    kinds[kind] = {{"score", mean.mean()}, {"count", mean.count}};
  return {{"score", all.mean()},
          {"count", all.count},
          {"left_out", tasks.left_out},
          {"seconds", tasks.seconds},
          {"kinds", kinds}};
}

}  // namespace

std::string eval_table(const EvalReport& report) {
  std::string text;
  if (report.perplexity) text += perplexity_table(*report.perplexity);
  if (report.tasks) text += task_table(*report.tasks);
  if (report.text_divergence || report.task_divergence)
    text += "data   positions    KL mean      KL 99%     KL max   top-1 %  |dp| mean   |dp| max\n";
  if (report.text_divergence) text += divergence_row("text", *report.text_divergence);
  if (report.task_divergence) text += divergence_row("tasks", *report.task_divergence);
  return text;
}

std::string eval_json(const EvalReport& report) {
  Json json = {{"model", report.model}};
  if (report.reference) json["reference"] = *report.reference;
  if (const auto& p = report.perplexity) {
    json["perplexity"] = {{"value", p->value},
                          {"error", p->error},
                          {"tokens", p->tokens},
                          {"scored", p->scored},
                          {"windows", p->windows},
                          {"seconds", p->seconds},
                          {"tokens_per_second", tokens_per_second(*p)}};
  }
  if (report.tasks) json["tasks"] = task_json(*report.tasks);
  if (report.text_divergence) json["divergence"]["text"] = divergence_json(*report.text_divergence);
  if (report.task_divergence) json["divergence"]["tasks"] = divergence_json(*report.task_divergence);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace tessera::programs
