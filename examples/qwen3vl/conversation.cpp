#include "examples/qwen3vl/conversation.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "examples/common/program.h"
#include "examples/common/signals.h"
#include "tensor/buffer.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

std::string mebibytes(std::size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

std::string size_text(int width, int height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

std::string about(double seconds) {
  if (seconds < 0.1) return "less than 0.1 s";
  char text[32];
  std::snprintf(text, sizeof text, seconds < 10 ? "about %.1f s" : "about %.0f s", seconds);
  return text;
}

// `whole`: its tokens if only the model bounded them. No budget: nothing is left to encode.
void announce(const Picture& picture, std::int64_t whole,
              const std::optional<qwen3vl::EncodeBudget>& budget) {
  const std::string reduced =
      picture.tokens < whole ? " (up to " + std::to_string(whole) + " with --image-max-tokens)" : "";
  const std::string cost =
      budget ? mebibytes(budget->bytes) + " and " + about(budget->seconds) + " to encode" : "encoded before";
  note(escape(picture.path) + ": " + size_text(picture.image.width, picture.image.height) +
       " pixels, seen as " + size_text(picture.seen.width, picture.seen.height) + ", " +
       std::to_string(picture.tokens) + " tokens" + reduced + ", " + cost + "\n");
}

// Adds the seconds that it lives to a sum.
class Stopwatch {
 public:
  explicit Stopwatch(double& sum) : sum_(sum), begin_(monotonic_seconds()) {}
  ~Stopwatch() { sum_ += monotonic_seconds() - begin_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& sum_;
  double begin_;
};

Message user_message(const std::string& text, std::size_t pictures) {
  Message message{Role::kUser, {}};
  for (std::size_t i = 0; i < pictures; ++i) message.content.push_back({PartKind::kImage, {}, {}});
  if (!text.empty()) message.content.push_back({PartKind::kText, text, {}});
  return message;
}

}  // namespace

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      break;
  }
  return "cancelled";
}

Conversation::Conversation(std::shared_ptr<const qwen3vl::Model> model, const Options& options,
                           const qwen3vl::SessionOptions& session_options,
                           const SamplerOptions& sampler_options, const PreprocessConfig& preprocess,
                           TraceWriter* trace)
    : model_(std::move(model)),
      options_(options),
      preprocess_(preprocess),
      sampler_options_(sampler_options),
      session_(model_, session_options),
      cache_(model_, session_options.cpu,
             {.folder = options.image_cache.value_or(""), .threads = session_options.threads}),
      sampler_(sampler_options),
      watcher_(trace, is_terminal(STDERR_FILENO)),
      escape_output_(is_terminal(STDOUT_FILENO)) {}

Answer Conversation::ask(const std::string& text, std::span<const Picture> pictures) {
  if (text.empty() && pictures.empty()) throw Error(ErrorCode::kInput, "", "prompt", "empty");
  if (const auto at = find_invalid_utf8(text))
    warn("prompt: invalid UTF-8 at byte " + std::to_string(*at) + " is read as U+FFFD");

  std::vector<Message> messages;
  if (first_turn_ && options_.system)
    messages.push_back({Role::kSystem, {{PartKind::kText, *options_.system, {}}}});
  messages.push_back(user_message(text, pictures.size()));
  const Tokenizer& tokenizer = model_->tokenizer();
  if (first_turn_) return run(encode_chat(tokenizer, messages, model_->chat_layout()), pictures);
  std::vector<std::int32_t> ids = unseen_;
  ids.push_back(tokenizer.id_of("<|im_end|>").value());
  const auto turn = encode_next_turn(tokenizer, messages, model_->chat_layout());
  ids.insert(ids.end(), turn.begin(), turn.end());
  return run(std::move(ids), pictures);
}

Answer Conversation::ask_raw(const std::string& text, std::span<const Picture> pictures) {
  return run(model_->tokenizer().encode(text, SpecialTokens::kParse), pictures);
}

void Conversation::clear() {
  session_.clear();
  sampler_ = Sampler(sampler_options_);
  unseen_.clear();
  first_turn_ = true;
}

Answer Conversation::run(std::vector<std::int32_t> ids, std::span<const Picture> pictures) {
  std::vector<std::int64_t> counts;
  for (const Picture& picture : pictures) counts.push_back(picture.tokens);
  Answer answer;
  answer.prompt_ids = expand_pads(ids, model_->config().image_token_id, counts);
  check_room(answer.prompt_ids.size(), pictures);

  answer.finish = FinishReason::kCancelled;
  std::vector<qwen3vl::PictureFeatures> features;
  if (!encode(pictures, answer, features)) return answer;
  const std::span<const float> logits = prefill(answer, features);
  if (logits.empty()) return answer;
  first_turn_ = false;
  sampler_.add_prompt(answer.prompt_ids);
  generate(logits, answer);
  return answer;
}

void Conversation::check_room(std::size_t tokens, std::span<const Picture> pictures) const {
  const auto needed = static_cast<std::int64_t>(tokens);
  if (needed <= session_.remaining()) return;
  std::int64_t visual = 0;
  for (const Picture& picture : pictures) visual += picture.tokens;
  const std::int64_t maximum = model_->config().text.max_position_embeddings;
  std::string hint;
  if (session_.context() < maximum) hint = "; -c up to " + std::to_string(maximum) + " makes room for more";
  if (visual > 0) hint += "; --image-max-tokens makes pictures take less";
  if (session_.length() > 0) hint += "; /clear starts anew";
  throw Error(ErrorCode::kInput, "", "prompt",
              "does not fit the context (got " + std::to_string(needed) + " tokens, " +
                  std::to_string(visual) + " of them pictures, expected at most " +
                  std::to_string(session_.remaining()) + ")" + hint);
}

bool Conversation::encode(std::span<const Picture> pictures, Answer& answer,
                          std::vector<qwen3vl::PictureFeatures>& features) {
  const PreprocessConfig& own = model_->preprocess();
  for (const Picture& picture : pictures) {
    if (cancel_flag().load()) return false;
    PixelValues pixels;
    {
      const Stopwatch watch(answer.timings.preprocess);
      pixels = preprocess_image(picture.image, preprocess_, options_.threads);
    }
    answer.timings.preprocess += picture.read_seconds;
    auto encoded = cache_.find(pixels);
    std::optional<qwen3vl::EncodeBudget> budget;
    if (!encoded) budget = session_.encode_budget(pixels, {&cancel_flag()});
    if (cancel_flag().load()) return false;
    const ImageSize whole = smart_resize({picture.image.width, picture.image.height}, own.resize_rule());
    announce(picture, picture_grid(whole, own).tokens(own.merge_size), budget);
    if (!encoded) encoded = encode_new(picture, pixels, *budget, answer);
    if (!encoded) return false;
    features.push_back(std::move(*encoded));
  }
  return true;
}

std::optional<qwen3vl::PictureFeatures> Conversation::encode_new(const Picture& picture,
                                                                 const PixelValues& pixels,
                                                                 const qwen3vl::EncodeBudget& budget,
                                                                 Answer& answer) {
  if (const std::size_t available = available_memory(); budget.bytes > available) {
    throw Error(ErrorCode::kResource, picture.path, "memory",
                "not enough (needs " + mebibytes(budget.bytes) + ", available " + mebibytes(available) +
                    "); --image-max-tokens lowers the need");
  }
  const Stopwatch watch(answer.timings.encode);
  const auto phase = watcher_.begin("encode", "encoding " + escape(picture.path, 60), 1);
  auto features = session_.encode(pixels, watcher_.run_options());
  if (!features) return features;
  try {
    cache_.insert(pixels, *features);
  } catch (const Error& error) {  // the answer need not wait for a full disk
    warn(std::string("--image-cache: ") + error.what());
  }
  return features;
}

std::span<const float> Conversation::prefill(Answer& answer,
                                             std::span<const qwen3vl::PictureFeatures> features) {
  const Stopwatch watch(answer.timings.prefill);
  const auto tokens = static_cast<std::int64_t>(answer.prompt_ids.size());
  const auto phase = watcher_.begin("prefill", "reading " + std::to_string(tokens) + " tokens",
                                    session_.chunk_count(tokens));
  return session_.prefill(answer.prompt_ids, features, watcher_.run_options());
}

void Conversation::emit(const std::string& text, Answer& answer) const {
  answer.text += text;
  if (!text.empty()) print(escape_output_ ? escape_for_terminal(text) : text);
}

void Conversation::generate(std::span<const float> logits, Answer& answer) {
  const Stopwatch watch(answer.timings.decode);
  const auto& ends = model_->generation().eos_token_ids;
  Detokenizer detokenizer(model_->tokenizer(), SkipSpecial::kYes);
  const auto phase = watcher_.begin_quietly("decode");
  unseen_.clear();
  while (true) {
    const std::int32_t id = sampler_.sample(logits);
    answer.ids.push_back(id);
    if (options_.top_logprobs > 0)
      answer.top_logprobs.push_back(top_logprobs(logits, static_cast<std::size_t>(options_.top_logprobs)));
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
      answer.finish = FinishReason::kStop;
      break;
    }
    emit(detokenizer.push(id), answer);
    unseen_ = {id};
    answer.finish = FinishReason::kLength;
    if (options_.max_tokens && static_cast<std::int64_t>(answer.ids.size()) >= *options_.max_tokens) break;
    answer.finish = FinishReason::kContext;
    if (session_.remaining() == 0) break;
    logits = session_.decode(id, watcher_.run_options());
    answer.finish = FinishReason::kCancelled;
    if (logits.empty()) break;
    unseen_.clear();
  }
  emit(detokenizer.flush(), answer);
  if (!answer.text.empty()) print("\n");
}

}  // namespace tessera::programs
