#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention/kernels.h"
#include "quant/half.h"
#include "quant/q8_0.h"

namespace tessera::ops {
namespace {

double element(const float* row, std::int64_t i) { return row[i]; }
struct F16 {
  std::uint16_t bits;
};
struct Bf16 {
  std::uint16_t bits;
};
double element(const F16* row, std::int64_t i) { return quant::f16_to_f32(row[i].bits); }
double element(const Bf16* row, std::int64_t i) { return quant::bf16_to_f32(row[i].bits); }
double element(const quant::BlockQ8_0* row, std::int64_t i) {
  const quant::BlockQ8_0& block = row[i / quant::BlockQ8_0::kElems];
  return double{quant::f16_to_f32(block.d)} * block.qs[i % quant::BlockQ8_0::kElems];
}

template <typename T>
void attend_row(const AttentionBlock& block, const float* q, float* y, std::int64_t seen) {
  double sum = 0, values[kAttentionMaxDim] = {};
  double largest = -std::numeric_limits<double>::infinity();
  for (std::int64_t s = 0; s < seen; ++s) {
    const T* k = reinterpret_cast<const T*>(block.k + s * block.k_stride);
    const T* v = reinterpret_cast<const T*>(block.v + s * block.v_stride);
    double score = 0;
    for (std::int64_t i = 0; i < block.dim; ++i) score += double{q[i]} * element(k, i);
    score *= double{block.scale};
    if (score > largest) {
      const double factor = std::exp(largest - score);
      sum *= factor;
      for (std::int64_t i = 0; i < block.dim; ++i) values[i] *= factor;
      largest = score;
    }
    const double weight = std::exp(score - largest);
    sum += weight;
    for (std::int64_t i = 0; i < block.dim; ++i) values[i] += weight * element(v, i);
  }
  for (std::int64_t i = 0; i < block.dim; ++i) y[i] = seen > 0 ? static_cast<float>(values[i] / sum) : 0.0f;
}

template <typename T>
void attend(const AttentionBlock& block) {
  for (std::int64_t p = 0; p < block.positions; ++p) {
    const std::int64_t seen = std::clamp<std::int64_t>(block.visible + p * block.growth, 0, block.keys);
    for (std::int64_t h = 0; h < block.heads; ++h) {
      attend_row<T>(block, block.q + p * block.q_stride + h * block.q_head_stride,
                    block.y + p * block.y_stride + h * block.y_head_stride, seen);
    }
  }
}

// Keys [first, end) of a run for head h.
template <typename T>
void decode_block(const DecodeRun& run, std::int64_t h, std::int64_t first, std::int64_t end) {
  const float* q = run.q + h * run.q_head_stride;
  double scores[kDecodeKeys], largest = -std::numeric_limits<double>::infinity();
  for (std::int64_t s = first; s < end; ++s) {
    const T* k = reinterpret_cast<const T*>(run.k + s * run.k_stride);
    double score = 0;
    for (std::int64_t i = 0; i < run.dim; ++i) score += double{q[i]} * element(k, i);
    scores[s - first] = score * double{run.scale};
    if (scores[s - first] > largest) largest = scores[s - first];
  }
  double sum = 0, values[kAttentionMaxDim] = {};
  // What is stored as the largest is what the weights belong to.
  const auto stored = static_cast<float>(largest);
  for (std::int64_t s = first; s < end; ++s) {
    const T* v = reinterpret_cast<const T*>(run.v + s * run.v_stride);
    const double weight = std::exp(scores[s - first] - double{stored});
    sum += weight;
    for (std::int64_t i = 0; i < run.dim; ++i) values[i] += weight * element(v, i);
  }
  float* partial =
      run.partial + h * run.partial_stride + first / kDecodeKeys * decode_partial_floats(run.dim);
  for (std::int64_t i = 0; i < run.dim; ++i) partial[i] = static_cast<float>(values[i]);
  partial[padded_dim(run.dim)] = stored;
  partial[padded_dim(run.dim) + 1] = static_cast<float>(sum);
}

template <typename T>
void decode(const DecodeRun& run) {
  for (std::int64_t h = 0; h < run.heads; ++h) {
    for (std::int64_t s = 0; s < run.keys; s += kDecodeKeys) {
      decode_block<T>(run, h, s, std::min(s + kDecodeKeys, run.keys));
    }
  }
}

}  // namespace

void attention_f32_ref(const AttentionBlock& block) noexcept { attend<float>(block); }
void attention_f16_ref(const AttentionBlock& block) noexcept { attend<F16>(block); }
void attention_bf16_ref(const AttentionBlock& block) noexcept { attend<Bf16>(block); }
void attention_q8_0_ref(const AttentionBlock& block) noexcept { attend<quant::BlockQ8_0>(block); }

void decode_f32_ref(const DecodeRun& run) noexcept { decode<float>(run); }
void decode_f16_ref(const DecodeRun& run) noexcept { decode<F16>(run); }
void decode_bf16_ref(const DecodeRun& run) noexcept { decode<Bf16>(run); }
void decode_q8_0_ref(const DecodeRun& run) noexcept { decode<quant::BlockQ8_0>(run); }

void merge_decoded_ref(const DecodeMerge& head) noexcept {
  const std::int64_t width = padded_dim(head.dim);
  double largest = -std::numeric_limits<double>::infinity(), sum = 0, values[kAttentionMaxDim] = {};
  for (std::int64_t b = 0; b < head.blocks; ++b) {
    largest = std::max(largest, double{head.partials[b * head.stride + width]});
  }
  for (std::int64_t b = 0; b < head.blocks; ++b) {
    const float* partial = head.partials + b * head.stride;
    const double factor = std::exp(double{partial[width]} - largest);
    sum += factor * double{partial[width + 1]};
    for (std::int64_t i = 0; i < head.dim; ++i) values[i] += factor * double{partial[i]};
  }
  for (std::int64_t i = 0; i < head.dim; ++i) {
    head.y[i] = head.blocks > 0 ? static_cast<float>(values[i] / sum) : 0.0f;
  }
}

}  // namespace tessera::ops
