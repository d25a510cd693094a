#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention/kernels.h"
#include "quant/half.h"
#include "quant/q8_0.h"

namespace tessera::ops {
namespace {

double element(const float* row, std::int64_t i) { return row[i]; }
double element(const std::uint16_t* row, std::int64_t i) { return quant::f16_to_f32(row[i]); }
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

}  // namespace

void attention_f32_ref(const AttentionBlock& block) noexcept { attend<float>(block); }
void attention_f16_ref(const AttentionBlock& block) noexcept { attend<std::uint16_t>(block); }
void attention_q8_0_ref(const AttentionBlock& block) noexcept { attend<quant::BlockQ8_0>(block); }

}  // namespace tessera::ops
