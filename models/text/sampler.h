// The next token from logits: greedy or drawn, with the filters of the reference, and log probabilities.
//
// Order, as in transformers (LogitsProcessorList): repetition penalty, presence penalty, then, unless greedy,
// temperature, top-k, top-p, min-p, draw. Probabilities are computed in double. Equal logits rank by id, the
// lower first; top-k keeps exactly k (transformers keeps all that equal the k-th).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/api.h"

namespace tessera {

// The defaults draw from the model's own distribution.
struct SamplerOptions {
  // Logits are divided by it. 0: greedy, the largest logit after penalties. Finite, >= 0.
  float temperature = 1.0f;
  // Only the k likeliest; 0: all. >= 0.
  std::int32_t top_k = 0;
  // Only the likeliest whose probabilities before them sum to less than this. (0, 1]; 1: all.
  float top_p = 1.0f;
  // Only those at least this times as likely as the likeliest. [0, 1]; 0: all.
  float min_p = 0.0f;
  // For each token of prompt or answer so far a positive logit is divided, a negative one multiplied by it.
  // Finite, > 0.
  float repetition_penalty = 1.0f;
  // Taken from the logit of each token of the answer so far, once. Finite.
  float presence_penalty = 0.0f;
  std::uint64_t seed = 0;
};

// xoshiro256** 1.0 (Blackman and Vigna 2018), its state the first four outputs of SplitMix64 from the seed.
// The same numbers on every platform.
class TESSERA_API Rng {
 public:
  explicit Rng(std::uint64_t seed);
  std::uint64_t next();
  // The upper 53 bits of next() times 2^-53: in [0, 1).
  double uniform();

 private:
  std::array<std::uint64_t, 4> state_;
};

// One sequence's sampler: options, random numbers and what has been said so far.
class TESSERA_API Sampler {
 public:
  // Error{kUsage} naming the option that is out of range.
  explicit Sampler(const SamplerOptions& options);

  // Tokens that the repetition penalty counts, without the presence penalty: a prompt or a further user turn.
  void add_prompt(std::span<const std::int32_t> ids);

  // The next token for logits over the vocabulary; it counts as said. Error{kModel}: a logit is NaN or +Inf
  // (the first such id is named), or all are -Inf, or there are none.
  std::int32_t sample(std::span<const float> logits);

 private:
  struct Candidate {
    double logit;   // after penalties
    double weight;  // exp((logit - largest) / temperature); probability before it is divided by the sum
    std::int32_t id;
  };
  static bool ranks_before(const Candidate& a, const Candidate& b);
  void load(std::span<const float> logits);
  void filter();
  std::int32_t draw();

  SamplerOptions options_;
  Rng rng_;
  std::vector<std::uint8_t> in_prompt_, in_answer_;  // by id
  std::vector<Candidate> candidates_;
};

struct TokenLogprob {
  std::int32_t id;
  double logprob;  // natural log
};
// The k likeliest tokens, the likeliest first, under softmax over the whole vocabulary, before any penalty,
// filter or temperature. Fewer where the vocabulary is smaller. Errors as Sampler::sample.
TESSERA_API std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, std::size_t k);

// generation_config.json. A key that is missing takes the value that transformers gives it.
struct TESSERA_API GenerationDefaults {
  bool do_sample = false;
  float temperature = 1.0f;
  std::int32_t top_k = 50;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  // Ids that end an answer; the file has one or a list.
  std::vector<std::int32_t> eos_token_ids;
  std::optional<std::int32_t> pad_token_id, bos_token_id;

  // Error{kModel} with file and key for values of the wrong type or out of the ranges of SamplerOptions.
  static GenerationDefaults from_json(std::string_view text, const std::string& file);
  // As from_json for a folder's generation_config.json; nothing where there is none.
  static std::optional<GenerationDefaults> from_folder(const std::string& directory);

  // Greedy unless do_sample; seed 0, no presence penalty.
  SamplerOptions sampler_options() const;
};

}  // namespace tessera
