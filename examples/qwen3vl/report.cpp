#include "examples/qwen3vl/report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace tessera::programs {
namespace {

// The first token comes from the prompt's logits, so it is not decoding's.
std::size_t decoded_tokens(const Answer& answer) { return answer.ids.empty() ? 0 : answer.ids.size() - 1; }

double rate(std::size_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

nlohmann::ordered_json timings_json(const Answer& answer) {
  const Timings& t = answer.timings;
  return {{"load", t.load},
          {"preprocess", t.preprocess},
          {"encode", t.encode},
          {"prefill", t.prefill},
          {"decode", t.decode},
          {"prompt_tokens", answer.prompt_ids.size()},
          {"generated_tokens", answer.ids.size()},
          {"prefill_tokens_per_second", rate(answer.prompt_ids.size(), t.prefill)},
          {"decode_tokens_per_second", rate(decoded_tokens(answer), t.decode)}};
}

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f s", value);
  return text;
}

std::string speed(const char* name, std::size_t tokens, double time) {
  char text[96];
  std::snprintf(text, sizeof text, "%s %zu tokens in %.2f s (%.1f tokens/s)", name, tokens, time,
                rate(tokens, time));
  return text;
}

}  // namespace

std::string json_report(const std::string& model, const Answer& answer, std::span<const Picture> pictures,
                        const BoxList& boxes, std::size_t box_image) {
  using Json = nlohmann::ordered_json;
  Json report = {{"model", model}, {"prompt_token_ids", answer.prompt_ids}, {"image_grids", Json::array()}};
  for (const Picture& p : pictures) report["image_grids"].push_back({p.grid.t, p.grid.h, p.grid.w});
  report["token_ids"] = answer.ids;
  report["text"] = answer.text;
  report["finish_reason"] = name(answer.finish);
  report["top_logprobs"] = Json::array();
  for (const auto& best : answer.top_logprobs) {
    Json row = Json::array();
    for (const TokenLogprob& token : best) row.push_back({{"id", token.id}, {"logprob", token.logprob}});
    report["top_logprobs"].push_back(std::move(row));
  }
  report["boxes"] = Json::array();
  for (const Box& box : boxes.boxes) {
    report["boxes"].push_back({{"image", box_image},
                               {"label", box.label.empty() ? Json(nullptr) : Json(box.label)},
                               {"bbox", box.corner}});
  }
  report["timings"] = timings_json(answer);
  // One member a line: readable, and lists of tokens stay short.
  std::string text = "{";
  for (const auto& [key, value] : report.items()) {
    text += text.size() == 1 ? "\n" : ",\n";
    text += "  \"" + key + "\": " + value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return text + "\n}\n";
}

std::string timing_line(const Answer& answer) {
  const Timings& t = answer.timings;
  std::string line = "load " + seconds(t.load);
  if (t.preprocess + t.encode > 0)
    line += ", preprocess " + seconds(t.preprocess) + ", encode " + seconds(t.encode);
  return line + ", " + speed("prefill", answer.prompt_ids.size(), t.prefill) + ", " +
         speed("decode", decoded_tokens(answer), t.decode);
}

}  // namespace tessera::programs
