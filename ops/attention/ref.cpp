#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "ops/attention/kernels.h"
#include "quant/half.h"

namespace tessera::ops {
namespace {

// Vectors of a head, as a cache of each type has them.
struct F32Rows {
  const std::byte* data;
  std::int64_t stride, dim;
  double element(std::int64_t s, std::int64_t i) const {
    return reinterpret_cast<const float*>(data + s * stride)[i];
  }
};
template <auto widen>
struct HalfRows {
  const std::byte* data;
  std::int64_t stride, dim;
  double element(std::int64_t s, std::int64_t i) const {
    return widen(reinterpret_cast<const std::uint16_t*>(data + s * stride)[i]);
  }
};
template <auto code_at, int kOffset>
struct Tiles {
  const std::byte* data;
  std::int64_t stride, dim;
  double element(std::int64_t s, std::int64_t i) const {
    const std::int64_t r = s % kCacheTileRows;
    const std::byte* tile = data + (s - r) * stride;
    std::uint16_t scale;
    std::memcpy(&scale, tile + cache_scale_at(dim, r, i), sizeof scale);
    const auto code = static_cast<std::uint8_t>(static_cast<int>(tile[code_at(r, i)]) - kOffset);
    return double{quant::f16_to_f32(scale)} * static_cast<std::int8_t>(code);
  }
};

template <typename Keys, typename Values = Keys>
struct Cache {
  Keys k;
  Values v;
  template <typename Work>
  explicit Cache(const Work& work) : k{work.k, work.k_stride, work.dim}, v{work.v, work.v_stride, work.dim} {}
};
using F32Cache = Cache<F32Rows>;
using F16Cache = Cache<HalfRows<quant::f16_to_f32>>;
using Bf16Cache = Cache<HalfRows<quant::bf16_to_f32>>;
using Q8_0Cache = Cache<Tiles<key_code_at, 128>, Tiles<value_code_at, 0>>;

template <typename Cache>
void attend_row(const AttentionBlock& block, const Cache& cache, const float* q, float* y,
                std::int64_t seen) {
  double sum = 0, values[kAttentionMaxDim] = {};
  double largest = -std::numeric_limits<double>::infinity();
  for (std::int64_t s = 0; s < seen; ++s) {
    double score = 0;
    for (std::int64_t i = 0; i < block.dim; ++i) score += double{q[i]} * cache.k.element(s, i);
    score *= double{block.scale};
    if (score > largest) {
      const double factor = std::exp(largest - score);
      sum *= factor;
      for (std::int64_t i = 0; i < block.dim; ++i) values[i] *= factor;
      largest = score;
    }
    const double weight = std::exp(score - largest);
    sum += weight;
    for (std::int64_t i = 0; i < block.dim; ++i) values[i] += weight * cache.v.element(s, i);
  }
  for (std::int64_t i = 0; i < block.dim; ++i) y[i] = seen > 0 ? static_cast<float>(values[i] / sum) : 0.0f;
}

template <typename Cache>
void attend(const AttentionBlock& block) {
  const Cache cache(block);
  for (std::int64_t p = 0; p < block.positions; ++p) {
    const std::int64_t seen = std::clamp<std::int64_t>(block.visible + p * block.growth, 0, block.keys);
    for (std::int64_t h = 0; h < block.heads; ++h) {
      attend_row(block, cache, block.q + p * block.q_stride + h * block.q_head_stride,
                 block.y + p * block.y_stride + h * block.y_head_stride, seen);
    }
  }
}

// Keys [first, end) of a run for head h.
template <typename Cache>
void decode_block(const DecodeRun& run, const Cache& cache, std::int64_t h, std::int64_t first,
                  std::int64_t end) {
  const float* q = run.q + h * run.q_head_stride;
  double scores[kDecodeKeys], largest = -std::numeric_limits<double>::infinity();
  for (std::int64_t s = first; s < end; ++s) {
    double score = 0;
    for (std::int64_t i = 0; i < run.dim; ++i) score += double{q[i]} * cache.k.element(s, i);
    scores[s - first] = score * double{run.scale} * std::numbers::log2e;
    if (scores[s - first] > largest) largest = scores[s - first];
  }
  double sum = 0, values[kAttentionMaxDim] = {};
  // What is stored as the largest is what the weights belong to.
  const auto stored = static_cast<float>(largest);
  for (std::int64_t s = first; s < end; ++s) {
    const double weight = std::exp2(scores[s - first] - double{stored});
    sum += weight;
    for (std::int64_t i = 0; i < run.dim; ++i) values[i] += weight * cache.v.element(s, i);
  }
  float* partial =
      run.partial + h * run.partial_stride + first / kDecodeKeys * decode_partial_floats(run.dim);
  for (std::int64_t i = 0; i < run.dim; ++i) partial[i] = static_cast<float>(values[i]);
  partial[padded_dim(run.dim)] = stored;
  partial[padded_dim(run.dim) + 1] = static_cast<float>(sum);
}

template <typename Cache>
void decode(const DecodeRun& run) {
  const Cache cache(run);
  for (std::int64_t h = 0; h < run.heads; ++h) {
    for (std::int64_t s = 0; s < run.keys; s += kDecodeKeys) {
      decode_block(run, cache, h, s, std::min(s + kDecodeKeys, run.keys));
    }
  }
}

}  // namespace

void attention_f32_ref(const AttentionBlock& block) noexcept { attend<F32Cache>(block); }
void attention_f16_ref(const AttentionBlock& block) noexcept { attend<F16Cache>(block); }
void attention_bf16_ref(const AttentionBlock& block) noexcept { attend<Bf16Cache>(block); }
void attention_q8_0_ref(const AttentionBlock& block) noexcept { attend<Q8_0Cache>(block); }

void decode_f32_ref(const DecodeRun& run) noexcept { decode<F32Cache>(run); }
void decode_f16_ref(const DecodeRun& run) noexcept { decode<F16Cache>(run); }
void decode_bf16_ref(const DecodeRun& run) noexcept { decode<Bf16Cache>(run); }
void decode_q8_0_ref(const DecodeRun& run) noexcept { decode<Q8_0Cache>(run); }

void merge_decoded_ref(const DecodeMerge& head) noexcept {
  const std::int64_t width = padded_dim(head.dim);
  double largest = -std::numeric_limits<double>::infinity(), sum = 0, values[kAttentionMaxDim] = {};
  for (std::int64_t b = 0; b < head.blocks; ++b) {
    largest = std::max(largest, double{head.partials[b * head.stride + width]});
  }
  for (std::int64_t b = 0; b < head.blocks; ++b) {
    const float* partial = head.partials + b * head.stride;
    const double factor = std::exp2(double{partial[width]} - largest);
    sum += factor * double{partial[width + 1]};
    for (std::int64_t i = 0; i < head.dim; ++i) values[i] += factor * double{partial[i]};
  }
  for (std::int64_t i = 0; i < head.dim; ++i) {
    head.y[i] = head.blocks > 0 ? static_cast<float>(values[i] / sum) : 0.0f;
  }
}

}  // namespace tessera::ops
