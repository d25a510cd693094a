// Sums over the places of a text where a model's next token is known: perplexity, and distance between two
// models. Everything in double, in the order of calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::programs {

// ln Σ exp(x). Logits hold no NaN and are not all -inf (Session).
double log_sum_exp(std::span<const float> logits);

class PerplexitySum {
 public:
  // Logits [V] and the token that follows.
  void add(std::span<const float> logits, std::int32_t next);

  std::size_t tokens() const { return tokens_; }
  // exp of the mean of -ln p(next).
  double value() const;
  // Its standard error: value · sqrt(variance of -ln p / (tokens - 1)). 0 for fewer than two tokens.
  double error() const;

 private:
  std::size_t tokens_ = 0;
  double sum_ = 0, squares_ = 0;  // of -ln p
};

// How far a model Q is from a reference P. Natural logarithms.
struct Divergence {
  std::size_t positions = 0;
  double mean = 0, p99 = 0, max = 0;         // KL(P || Q) of a position in nats; p99: 99 % are at most this
  double top1_agreement = 0;                 // share of positions where both have the same likeliest token
  double delta_p_mean = 0, delta_p_max = 0;  // |p - q| of the reference's likeliest token
};

class DivergenceSum {
 public:
  // Logits [V] of both at one position. Of equal logits the lower id counts as the likeliest.
  void add(std::span<const float> reference, std::span<const float> model);
  Divergence result() const;

 private:
  std::vector<double> divergences_;
  std::size_t agreements_ = 0;
  double delta_p_sum_ = 0, delta_p_max_ = 0;
};

}  // namespace tessera::programs
