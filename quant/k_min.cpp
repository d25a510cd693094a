#include "quant/k_min.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/block.h"
#include "quant/fit/fit.h"
#include "quant/half.h"

namespace tessera::quant {
namespace {

// Codes for the scales and mins that stand in the block; those with d * scale = 0 stay.
void round_block(const float* x, int levels, KMin* block) {
  const float d = f16_to_f32(block->d), dmin = f16_to_f32(block->dmin);
  for (int j = 0; j < 8; ++j) {
    const float scale = d * block->scale[j], min = dmin * block->min[j];
    if (scale == 0) continue;
    for (int l = 32 * j; l < 32 * j + 32; ++l)
      block->q[l] = static_cast<std::uint8_t>(nearest((x[l] + min) / scale, 0, levels));
  }
}

// The search over one block: from fitted lines to d, dmin and six-bit numbers.
class KMinSearch {
 public:
  KMinSearch(const FitKernels& kernels, const float* x, const float* w, int levels)
      : kernels_(kernels), columns_{x_, w_, 32, 0, static_cast<float>(levels)} {
    StepBatch lines;
    lines.d = lines.dmin = 1;
    for (int j = 0; j < 8; ++j) {
      const Line line =
          fit_line(kernels, {x + 32 * j, w + 32 * j, 32, 0, columns_.high}, MinRule::kNotPositive);
      model_.scale[j] = lines.s[j] = lines.s[j + 8] = line.scale;
      model_.min[j] = line.min;
      lines.m[j] = lines.m[j + 8] = -line.min;
      max_scale_ = std::max(max_scale_, line.scale);
      max_min_ = std::max(max_min_, -line.min);
      for (int l = 0; l < 32; ++l) {
        const float v = x[32 * j + l], weight = w[32 * j + l];
        x_[kLanesPerBatch * l + j] = x_[kLanesPerBatch * l + j + 8] = v;
        w_[kLanesPerBatch * l + j] = w_[kLanesPerBatch * l + j + 8] = weight;
        model_.w[j] += weight;
        sum_wx_[j] += weight * v;
      }
    }
    StepBest sums;
    std::fill_n(sums.error, kLanesPerBatch, std::numeric_limits<float>::infinity());
    kernels.try_steps(columns_, lines, &sums);
    std::copy_n(sums.wq, 8, model_.wq);
    std::copy_n(sums.wqq, 8, model_.wqq);
  }

  KMin run() {
    std::uint16_t d[kTried];
    const std::uint16_t dmin = f32_to_f16(max_min_ / 63);
    choose_d(dmin, d);
    for (const std::uint16_t half : d) {
      Candidate next{};
      next.d = half;
      next.dmin = dmin;
      accept(&next);
      if (refit(&next)) accept(&next);
    }
    for (int i = 0; i < 2; ++i) {
      Candidate next = best_;
      if (!refit(&next) || !accept(&next)) break;
    }
    KMin block{};
    block.d = best_.d;
    block.dmin = best_.dmin;
    for (int j = 0; j < 8; ++j) {
      block.scale[j] = static_cast<std::uint8_t>(best_.s[j]);
      block.min[j] = static_cast<std::uint8_t>(best_.m[j]);
    }
    return block;
  }

 private:
  static constexpr int kTried = 3;

  // Of sixteen d's those for which six-bit numbers lie nearest to the fitted lines.
  void choose_d(std::uint16_t dmin, std::uint16_t* best) {
    model_.dmin = f16_to_f32(dmin);
    // 63 gives the finest steps that reach the largest scale; coarser ones may fit the others.
    for (int c = 0; c < kLanesPerBatch; ++c)
      model_.d[c] = max_scale_ / (63.4f - 0.5f * static_cast<float>(c));
    kernels_.cost_steps(&model_);
    for (int i = 0; i < kTried; ++i) {
      const auto at = std::min_element(model_.cost, model_.cost + kLanesPerBatch) - model_.cost;
      best[i] = f32_to_f16(model_.d[at]);
      model_.cost[at] = std::numeric_limits<float>::infinity();
    }
  }

  struct Candidate {
    std::uint16_t d, dmin;
    float s[8], m[8];
    float wq[8], wqq[8], wxq[8];
  };

  bool accept(Candidate* next) {
    const float error = choose(next);
    if (!(error < least_)) return false;
    least_ = error;
    best_ = *next;
    return true;
  }

  // For each sub-block the best six-bit pair near its line, given d and dmin. Returns the block's error.
  float choose(Candidate* block) const {
    StepBatch batch;
    batch.d = f16_to_f32(block->d);
    batch.dmin = f16_to_f32(block->dmin);
    const float units = inverse(batch.d), min_units = inverse(batch.dmin);
    StepBest best;
    std::fill_n(best.error, kLanesPerBatch, std::numeric_limits<float>::infinity());
    for (const float step : {0.0f, -1.0f, 1.0f}) {
      for (int j = 0; j < 8; ++j) {
        const float scale = model_.scale[j], slope = model_.w[j] > 0 ? model_.wq[j] / model_.w[j] : 0;
        const float s = clamp(round_even(clamp(scale * units, 0, 63)) + step, 0, 63);
        // The two on either side of the min that goes best with the scale.
        const float min = model_.min[j] - slope * (batch.d * s - scale);
        const float m = round_even(clamp(-min * min_units - 0.5f, 0, 62));
        batch.s[j] = batch.s[j + 8] = s;
        batch.m[j] = m;
        batch.m[j + 8] = m + 1;
      }
      kernels_.try_steps(columns_, batch, &best);
    }
    float sum = 0;
    for (int j = 0; j < 8; ++j) {
      const int c = best.error[j + 8] < best.error[j] ? j + 8 : j;
      sum += best.error[c];
      block->s[j] = best.s[c];
      block->m[j] = best.m[c];
      block->wq[j] = best.wq[c];
      block->wqq[j] = best.wqq[c];
      block->wxq[j] = best.wxq[c];
    }
    return sum;
  }

  // d and dmin by least squares over the whole block, its other numbers fixed. False where nothing moves.
  bool refit(Candidate* block) const {
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;  // x ~ d * a - dmin * b, a = scale * q, b = min
    for (int j = 0; j < 8; ++j) {
      const double s = block->s[j], m = block->m[j];
      aa += s * s * block->wqq[j];
      ab += s * m * block->wq[j];
      bb += m * m * model_.w[j];
      ax += s * block->wxq[j];
      bx += m * sum_wx_[j];
    }
    const double determinant = aa * bb - ab * ab;
    double d = aa > 0 ? ax / aa : 0, dmin = 0;
    if (determinant > 1e-9 * aa * bb) {
      d = (ax * bb - bx * ab) / determinant;
      dmin = (ax * ab - bx * aa) / determinant;
    } else if (bb > 0) {
      return false;
    }
    if (!(d > 0) || dmin < 0) return false;
    const std::uint16_t half_d = f32_to_f16(static_cast<float>(d));
    const std::uint16_t half_dmin = f32_to_f16(static_cast<float>(dmin));
    if (half_d == block->d && half_dmin == block->dmin) return false;
    block->d = half_d;
    block->dmin = half_dmin;
    return true;
  }

  const FitKernels& kernels_;
  Elements columns_;
  float x_[32 * kLanesPerBatch], w_[32 * kLanesPerBatch];  // the sub-blocks twice, one in a column
  StepModel model_{};                                      // the fitted lines
  float sum_wx_[8] = {};
  float max_scale_ = 0, max_min_ = 0, least_ = std::numeric_limits<float>::infinity();
  Candidate best_{};
};

// A block of equal elements, exact where the number is an f16.
KMin constant_block(float value) {
  KMin block{};
  (value < 0 ? block.dmin : block.d) = f32_to_f16(std::fabs(value));
  std::fill_n(value < 0 ? block.min : block.scale, 8, std::uint8_t{1});
  std::fill_n(block.q, 256, std::uint8_t{value > 0});
  return block;
}

}  // namespace

void pack_scales(const std::uint8_t* scale, const std::uint8_t* min, std::uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    bytes[j] = static_cast<std::uint8_t>(scale[j] | scale[j + 4] >> 4 << 6);
    bytes[j + 4] = static_cast<std::uint8_t>(min[j] | min[j + 4] >> 4 << 6);
    bytes[j + 8] = static_cast<std::uint8_t>((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
  }
}

void unpack_scales(const std::uint8_t* bytes, std::uint8_t* scale, std::uint8_t* min) {
  for (int j = 0; j < 4; ++j) {
    scale[j] = bytes[j] & 63;
    min[j] = bytes[j + 4] & 63;
    scale[j + 4] = static_cast<std::uint8_t>((bytes[j + 8] & 15) | bytes[j] >> 6 << 4);
    min[j + 4] = static_cast<std::uint8_t>(bytes[j + 8] >> 4 | bytes[j + 4] >> 6 << 4);
  }
}

void decode_k_min(const KMin& block, float* x) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int j = 0; j < 8; ++j) {
    const float scale = d * block.scale[j], min = dmin * block.min[j];
    for (int l = 32 * j; l < 32 * j + 32; ++l) x[l] = scale * static_cast<float>(block.q[l]) - min;
  }
}

KMin encode_k_min(const FitKernels& kernels, const float* x, const KMinRule& rule) {
  float columns[256];
  for (int j = 0; j < 8; ++j) {
    for (int l = 0; l < 32; ++l) columns[8 * l + j] = x[32 * j + l];
  }
  KMinFits fits;
  kernels.fit_k_min(columns, rule, &fits);
  KMin block{};
  float max_scale = 0, max_min = 0;
  for (int j = 0; j < 8; ++j) {
    for (int l = 0; l < 32; ++l) block.q[32 * j + l] = static_cast<std::uint8_t>(fits.q[8 * l + j]);
    max_scale = std::max(max_scale, fits.scale[j]);
    max_min = std::max(max_min, -fits.min[j]);
  }
  const float scale_units = max_scale > 0 ? 63 / max_scale : 0, min_units = max_min > 0 ? 63 / max_min : 0;
  for (int j = 0; j < 8; ++j) {
    block.scale[j] = static_cast<std::uint8_t>(nearest(scale_units * fits.scale[j], 0, 63));
    block.min[j] = static_cast<std::uint8_t>(nearest(min_units * -fits.min[j], 0, 63));
  }
  block.d = f32_to_f16(max_scale / 63);
  block.dmin = f32_to_f16(max_min / 63);
  round_block(x, rule.levels, &block);
  return block;
}

KMin search_k_min(const FitKernels& kernels, const float* x, const float* w, int levels) {
  if (std::all_of(x, x + 256, [x](float v) { return v == x[0]; })) return constant_block(x[0]);
  KMin block = KMinSearch(kernels, x, w, levels).run();
  round_block(x, levels, &block);
  return block;
}

}  // namespace tessera::quant
