#include "quant/k_min.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/block.h"
#include "quant/fit.h"
#include "quant/half.h"

namespace tessera::quant {
namespace {

// The reference's sub-block: scale * q - min, with the codes that go with it.
struct Fitted {
  float scale, min;
  std::uint8_t q[32];
};

float weighted_error(const float* x, const float* w, const Fitted& f) {
  float sum = 0;
  for (int l = 0; l < 32; ++l) {
    const float rest = f.scale * static_cast<float>(f.q[l]) + f.min - x[l];
    sum += w[l] * (rest * rest);
  }
  return sum;
}

void round_codes(const float* x, float inv, float min, int levels, std::uint8_t* q) {
  for (int l = 0; l < 32; ++l) q[l] = static_cast<std::uint8_t>(nearest(inv * (x[l] - min), 0, levels));
}

// Sets scale and min of f to the weighted least squares for its codes. False where they are not determined.
bool least_squares(const float* x, const float* w, float sum_w, float sum_wx, Fitted* f) {
  float sum_wq = 0, sum_wqq = 0, sum_wqx = 0;
  for (int l = 0; l < 32; ++l) {
    const float q = f->q[l];
    sum_wq += w[l] * q;
    sum_wqq += w[l] * q * q;
    sum_wqx += w[l] * q * x[l];
  }
  const float determinant = sum_w * sum_wqq - sum_wq * sum_wq;
  if (!(determinant > 0)) return false;
  f->scale = (sum_w * sum_wqx - sum_wx * sum_wq) / determinant;
  f->min = (sum_wqq * sum_wx - sum_wq * sum_wqx) / determinant;
  if (f->min > 0) {
    f->min = 0;
    f->scale = sum_wqx / sum_wqq;
  }
  return true;
}

Fitted fit_reference(const float* x, const float* w, const KMinRule& rule) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float max = *high;
  Fitted best{0, std::min(*low, 0.0f), {}};
  if (max == best.min) {
    best.min = -best.min;
    return best;
  }
  float sum_w = 0, sum_wx = 0;
  for (int l = 0; l < 32; ++l) sum_w += w[l], sum_wx += w[l] * x[l];
  const auto levels = static_cast<float>(rule.levels);
  const float first = levels / (max - best.min);
  round_codes(x, first, best.min, rule.levels, best.q);
  best.scale = 1 / first;
  float least = weighted_error(x, w, best);
  for (int s = 0; s <= rule.tries; ++s) {
    // The min of each try is the one accepted so far.
    const float inv = (rule.first + 0.1f * static_cast<float>(s) + levels) / (max - best.min);
    Fitted next{};
    round_codes(x, inv, best.min, rule.levels, next.q);
    if (!least_squares(x, w, sum_w, sum_wx, &next)) continue;
    const float error = weighted_error(x, w, next);
    if (error < least) least = error, best = next;
  }
  best.min = -best.min;
  return best;
}

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
  KMinSearch(const float* x, const float* w, int levels) : x_(x), w_(w), levels_(levels) {
    for (int j = 0; j < 8; ++j) {
      lines_[j] = fit_line(x + 32 * j, w + 32 * j, levels, MinRule::kNotPositive);
      for (int l = 32 * j; l < 32 * j + 32; ++l) sum_w_[j] += w[l], sum_wx_[j] += w[l] * x[l];
      max_scale_ = std::max(max_scale_, lines_[j].scale);
      max_min_ = std::max(max_min_, -lines_[j].min);
    }
  }

  KMin run() {
    // 63 gives the finest steps that reach the largest scale; a slightly coarser one may fit the others.
    for (const float units : {63.0f, 61.6f, 60.3f, 58.5f, 56.5f}) {
      KMin next{};
      next.d = f32_to_f16(max_scale_ / units);
      next.dmin = f32_to_f16(max_min_ / 63);
      accept(next, choose(&next));
      if (refit(&next)) accept(next, choose(&next));
    }
    for (int i = 0; i < 3; ++i) {
      KMin next = best_;
      if (!refit(&next) || !accept(next, choose(&next))) break;
    }
    for (const int steps : {-1, 1}) {
      KMin next = best_;
      next.d = static_cast<std::uint16_t>(std::clamp(next.d + steps, 0, 0x7BFF));
      accept(next, choose(&next));
    }
    round_block(x_, levels_, &best_);
    return best_;
  }

 private:
  bool accept(const KMin& next, float error) {
    if (!(error < least_)) return false;
    least_ = error;
    best_ = next;
    return true;
  }

  // For each sub-block the best six-bit pair near its line, given d and dmin. Returns the block's error.
  float choose(KMin* block) const {
    const float d = f16_to_f32(block->d), dmin = f16_to_f32(block->dmin);
    float sum = 0;
    for (int j = 0; j < 8; ++j) {
      const int scale = nearest(lines_[j].scale * inverse(d), 0, 63);
      const int min = nearest(-lines_[j].min * inverse(dmin), 0, 63);
      float least = std::numeric_limits<float>::infinity();
      // A wider scale goes with a lower min, so that pairs moving against each other are left out.
      static constexpr int kMoves[][2] = {{0, 0}, {0, -1}, {0, 1}, {-1, 0}, {1, 0}, {-1, -1}, {1, 1}};
      for (const auto& [ds, dm] : kMoves) {
        const int s = scale + ds, m = min + dm;
        if (s < 0 || s > 63 || m < 0 || m > 63) continue;
        const Line line{d * static_cast<float>(s), -(dmin * static_cast<float>(m))};
        const float error = squared_error(x_ + 32 * j, w_ + 32 * j, 32, line, 0, levels_);
        if (!(error < least)) continue;
        least = error;
        block->scale[j] = static_cast<std::uint8_t>(s);
        block->min[j] = static_cast<std::uint8_t>(m);
      }
      sum += least;
    }
    return sum;
  }

  // d and dmin by least squares over the whole block, its other numbers fixed. False where nothing moves.
  bool refit(KMin* block) const {
    const float old_d = f16_to_f32(block->d), old_dmin = f16_to_f32(block->dmin);
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;  // x ~ d * a - dmin * b, a = scale * q, b = min
    for (int j = 0; j < 8; ++j) {
      const float s = block->scale[j], m = block->min[j];
      const LineSums sums = line_sums(x_ + 32 * j, w_ + 32 * j, {old_d * s, -(old_dmin * m)}, levels_);
      aa += s * s * sums.wqq;
      ab += s * m * sums.wq;
      bb += m * m * sum_w_[j];
      ax += s * sums.wxq;
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

  const float* x_;
  const float* w_;
  int levels_;
  Line lines_[8];
  float sum_w_[8] = {}, sum_wx_[8] = {};
  float max_scale_ = 0, max_min_ = 0, least_ = std::numeric_limits<float>::infinity();
  KMin best_{};
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

KMin encode_k_min(const float* x, const KMinRule& rule) {
  KMin block{};
  float scale[8], min[8], w[32];
  float max_scale = 0, max_min = 0;
  for (int j = 0; j < 8; ++j) {
    const float* part = x + 32 * j;
    float squares = 0;
    for (int l = 0; l < 32; ++l) squares += part[l] * part[l];
    const float mean = std::sqrt(squares / 32);
    for (int l = 0; l < 32; ++l) w[l] = mean + std::fabs(part[l]);
    const Fitted fitted = fit_reference(part, w, rule);
    std::copy_n(fitted.q, 32, block.q + 32 * j);
    scale[j] = fitted.scale;
    min[j] = fitted.min;
    max_scale = std::max(max_scale, scale[j]);
    max_min = std::max(max_min, min[j]);
  }
  const float scale_units = max_scale > 0 ? 63 / max_scale : 0, min_units = max_min > 0 ? 63 / max_min : 0;
  for (int j = 0; j < 8; ++j) {
    block.scale[j] = static_cast<std::uint8_t>(nearest(scale_units * scale[j], 0, 63));
    block.min[j] = static_cast<std::uint8_t>(nearest(min_units * min[j], 0, 63));
  }
  block.d = f32_to_f16(max_scale / 63);
  block.dmin = f32_to_f16(max_min / 63);
  round_block(x, rule.levels, &block);
  return block;
}

KMin search_k_min(const float* x, const float* w, int levels) {
  if (std::all_of(x, x + 256, [x](float v) { return v == x[0]; })) return constant_block(x[0]);
  return KMinSearch(x, w, levels).run();
}

}  // namespace tessera::quant
