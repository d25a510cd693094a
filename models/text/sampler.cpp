#include "models/text/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "tensor/error.h"

namespace tessera {
namespace {

void check_option(const char* name, double value, bool valid, const char* expected) {
  if (valid && std::isfinite(value)) return;
  throw Error(ErrorCode::kUsage, "", name,
              "out of range (got " + std::to_string(value) + ", expected " + expected + ")");
}

// Throws for logits that nothing can be drawn from; the largest of them.
float check_logits(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (std::isnan(logits[id]) || logits[id] == std::numeric_limits<float>::infinity()) {
      throw Error(ErrorCode::kModel, "", "logits[" + std::to_string(id) + "]",
                  std::isnan(logits[id]) ? "is NaN" : "is +Inf");
    }
    largest = std::max(largest, logits[id]);
  }
  if (std::isinf(largest)) {
    throw Error(ErrorCode::kModel, "", "logits", logits.empty() ? "there are none" : "all are -Inf");
  }
  return largest;
}

// Marks id in a set of flags by id, which grows to hold it.
void mark(std::vector<std::uint8_t>& flags, std::int32_t id) {
  if (id < 0) return;
  const auto i = static_cast<std::size_t>(id);
  if (i >= flags.size()) flags.resize(i + 1, 0);
  flags[i] = 1;
}

bool marked(const std::vector<std::uint8_t>& flags, std::size_t id) {
  return id < flags.size() && flags[id] != 0;
}

}  // namespace

Rng::Rng(std::uint64_t seed) {
  for (std::uint64_t& word : state_) {
    seed += 0x9E3779B97F4A7C15u;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    word = z ^ (z >> 31);
  }
}

std::uint64_t Rng::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Rng::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

Sampler::Sampler(const SamplerOptions& options) : options_(options), rng_(options.seed) {
  const SamplerOptions& o = options;
  check_option("temperature", o.temperature, o.temperature >= 0, "0 or more");
  check_option("top_k", o.top_k, o.top_k >= 0, "0 or more");
  check_option("top_p", o.top_p, o.top_p > 0 && o.top_p <= 1, "more than 0, at most 1");
  check_option("min_p", o.min_p, o.min_p >= 0 && o.min_p <= 1, "0 to 1");
  check_option("repetition_penalty", o.repetition_penalty, o.repetition_penalty > 0, "more than 0");
  check_option("presence_penalty", o.presence_penalty, true, "a finite number");
}

void Sampler::add_prompt(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) mark(in_prompt_, id);
}

bool Sampler::ranks_before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void Sampler::load(std::span<const float> logits) {
  candidates_.clear();
  for (std::size_t id = 0; id < logits.size(); ++id) {
    double logit = logits[id];
    const bool said = marked(in_answer_, id);
    if (said || marked(in_prompt_, id)) {
      logit = logit < 0 ? logit * options_.repetition_penalty : logit / options_.repetition_penalty;
    }
    if (said) logit -= options_.presence_penalty;
    candidates_.push_back({logit, 0, static_cast<std::int32_t>(id)});
  }
}

void Sampler::filter() {
  auto& c = candidates_;
  const auto limit = static_cast<std::size_t>(options_.top_k);
  if (limit > 0 && limit < c.size()) {
    std::nth_element(c.begin(), c.begin() + options_.top_k, c.end(), ranks_before);
    c.resize(limit);
  }
  const double largest = std::min_element(c.begin(), c.end(), ranks_before)->logit;
  double sum = 0;
  for (Candidate& candidate : c) {
    candidate.weight = std::exp((candidate.logit - largest) / options_.temperature);
    sum += candidate.weight;
  }
  if (options_.top_p >= 1 && options_.min_p <= 0) return;

  // Takes candidates from a heap, the likeliest first, so that a narrow filter sorts only what it keeps.
  const auto ranks_after = [](const Candidate& a, const Candidate& b) { return ranks_before(b, a); };
  std::make_heap(c.begin(), c.end(), ranks_after);
  const double mass = options_.top_p < 1 ? options_.top_p * sum : std::numeric_limits<double>::infinity();
  double before = 0;
  auto heap_end = c.end();
  while (heap_end != c.begin() && before < mass && c.front().weight >= options_.min_p) {
    before += c.front().weight;
    std::pop_heap(c.begin(), heap_end--, ranks_after);
  }
  c.erase(c.begin(), heap_end);
}

std::int32_t Sampler::draw() {
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += candidate.weight;
  const double point = rng_.uniform() * sum;
  double before = 0;
  std::int32_t last = -1;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0) continue;
    before += candidate.weight;
    last = candidate.id;
    if (point < before) break;
  }
  return last;
}

std::int32_t Sampler::sample(std::span<const float> logits) {
  check_logits(logits);
  load(logits);
  std::int32_t id = 0;
  if (options_.temperature == 0) {
    id = std::min_element(candidates_.begin(), candidates_.end(), ranks_before)->id;
  } else {
    filter();
    id = draw();
  }
  mark(in_answer_, id);
  return id;
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, std::size_t k) {
  const double largest = check_logits(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  const double log_sum = largest + std::log(sum);

  std::vector<std::int32_t> ids(logits.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i);
  k = std::min(k, ids.size());
  const auto ranks_before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(k), ids.end(), ranks_before);
  std::vector<TokenLogprob> out;
  for (std::size_t i = 0; i < k; ++i) {
    out.push_back({ids[i], logits[static_cast<std::size_t>(ids[i])] - log_sum});
  }
  return out;
}

}  // namespace tessera
