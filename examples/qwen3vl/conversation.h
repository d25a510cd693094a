// A conversation with a model: questions with pictures in, answers out, the KV cache kept in between.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/common/pictures.h"
#include "examples/common/progress.h"
#include "examples/qwen3vl/options.h"
#include "models/qwen3vl/feature_cache.h"
#include "models/qwen3vl/session.h"
#include "models/text/sampler.h"

namespace tessera::programs {

enum class FinishReason {
  kStop,       // the model ended its answer
  kLength,     // -n tokens
  kContext,    // the context is full
  kCancelled,  // a signal came
};
std::string_view name(FinishReason reason);

// In seconds.
struct Timings {
  double load = 0, preprocess = 0, encode = 0, prefill = 0, decode = 0;
};

struct Answer {
  std::vector<std::int32_t> prompt_ids;  // with the tokens of pictures
  std::vector<std::int32_t> ids;         // with the token that ended it
  std::string text;                      // without special tokens
  FinishReason finish = FinishReason::kStop;
  std::vector<std::vector<TokenLogprob>> top_logprobs;  // of each of ids, if asked for
  Timings timings;                                      // preprocess to decode
};

class Conversation {
 public:
  // Throws Error{kUsage} for sampler settings and session options out of range, kOutput for a folder of
  // --image-cache that cannot be used, kResource.
  Conversation(std::shared_ptr<const qwen3vl::Model> model, const Options& options,
               const qwen3vl::SessionOptions& session_options, const SamplerOptions& sampler_options,
               const PreprocessConfig& preprocess, TraceWriter* trace);

  // The next turn: pictures, then text that a user typed. The answer is printed as it comes. After a signal
  // (signals.h) it is what there is so far. Throws Error{kInput} when the turn does not fit the context,
  // before anything is computed; the conversation then stands as before.
  Answer ask(const std::string& text, std::span<const Picture> pictures);
  // As the only turn, a text that has its own layout: special tokens are parsed and each <|image_pad|> takes
  // the next picture. Throws Error{kInput} unless there are as many of both.
  Answer ask_raw(const std::string& text, std::span<const Picture> pictures);
  // Forgets everything but the system message.
  void clear();

 private:
  Answer run(std::vector<std::int32_t> ids, std::span<const Picture> pictures);
  // False when cancelled; as the following two.
  bool encode(std::span<const Picture> pictures, Answer& answer,
              std::vector<qwen3vl::PictureFeatures>& features);
  // A picture that is not in the cache. nullopt when cancelled.
  std::optional<qwen3vl::PictureFeatures> encode_new(const Picture& picture, const PixelValues& pixels,
                                                     const qwen3vl::EncodeBudget& budget, Answer& answer);
  std::span<const float> prefill(Answer& answer, std::span<const qwen3vl::PictureFeatures> features);
  void generate(std::span<const float> logits, Answer& answer);
  void check_room(std::size_t tokens, std::span<const Picture> pictures) const;
  void emit(const std::string& text, Answer& answer) const;

  std::shared_ptr<const qwen3vl::Model> model_;
  const Options& options_;
  PreprocessConfig preprocess_;
  SamplerOptions sampler_options_;
  qwen3vl::Session session_;
  qwen3vl::FeatureCache cache_;
  Sampler sampler_;
  Watcher watcher_;
  bool escape_output_;
  bool first_turn_ = true;
  std::vector<std::int32_t> unseen_;  // tokens of the last answer that are not in the cache
};

}  // namespace tessera::programs
