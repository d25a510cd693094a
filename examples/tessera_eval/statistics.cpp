#include "examples/tessera_eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tessera::programs {
namespace {

std::size_t likeliest(std::span<const float> logits) {
  return static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

void PerplexitySum::add(std::span<const float> logits, std::int32_t next) {
  const double loss = log_sum_exp(logits) - double{logits[static_cast<std::size_t>(next)]};
  ++tokens_;
  sum_ += loss;
  squares_ += loss * loss;
}

double PerplexitySum::value() const {
  return tokens_ > 0 ? std::exp(sum_ / static_cast<double>(tokens_)) : 0;
}

double PerplexitySum::error() const {
  if (tokens_ < 2) return 0;
  const auto n = static_cast<double>(tokens_);
  const double variance = squares_ / n - (sum_ / n) * (sum_ / n);
  return value() * std::sqrt(std::max(0.0, variance) / (n - 1));
}

void DivergenceSum::add(std::span<const float> reference, std::span<const float> model) {
  const double reference_scale = log_sum_exp(reference), model_scale = log_sum_exp(model);
  double sum = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double log_p = double{reference[i]} - reference_scale;
    const double p = std::exp(log_p);
    if (p > 0) sum += p * (log_p - (double{model[i]} - model_scale));
  }
  divergences_.push_back(std::max(0.0, sum));  // rounding may leave it just below
  const std::size_t top = likeliest(reference);
  agreements_ += top == likeliest(model);
  const double p = std::exp(double{reference[top]} - reference_scale);
  const double q = std::exp(double{model[top]} - model_scale);
  delta_p_sum_ += std::abs(p - q);
  delta_p_max_ = std::max(delta_p_max_, std::abs(p - q));
}

Divergence DivergenceSum::result() const {
  Divergence d;
  d.positions = divergences_.size();
  if (d.positions == 0) return d;
  const auto n = static_cast<double>(d.positions);
  std::vector<double> sorted = divergences_;
  std::sort(sorted.begin(), sorted.end());
  d.mean = std::accumulate(divergences_.begin(), divergences_.end(), 0.0) / n;
  d.p99 = sorted[(99 * d.positions + 99) / 100 - 1];  // nearest rank: the ceil(0.99 n)-th smallest
  d.max = sorted.back();
  d.top1_agreement = static_cast<double>(agreements_) / n;
  d.delta_p_mean = delta_p_sum_ / n;
  d.delta_p_max = delta_p_max_;
  return d;
}

}  // namespace tessera::programs
