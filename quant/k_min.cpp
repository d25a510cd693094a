#include "quant/k_min.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/block.h"
#include "quant/fit.h"
#include "quant/half.h"
#include "quant/lanes.h"

namespace tessera::quant {
namespace {

// The reference's fit of four sub-blocks side by side, one in a lane; in each lane the sums run in the order
// of the elements, as the reference's do.
class FourFits {
 public:
  // x: 4 * 32 elements.
  FourFits(const float* x, const KMinRule& rule)
      : rule_(rule), levels_(all(static_cast<float>(rule.levels))) {
    Lanes squares{};
    low_ = high_ = Lanes{x[0], x[32], x[64], x[96]};
    for (int l = 0; l < 32; ++l) {
      x_[l] = Lanes{x[l], x[32 + l], x[64 + l], x[96 + l]};
      squares += x_[l] * x_[l];
      low_ = x_[l] < low_ ? x_[l] : low_;
      high_ = high_ < x_[l] ? x_[l] : high_;
    }
    low_ = low_ < 0 ? low_ : Lanes{};
    squares /= 32;
    const Lanes mean{std::sqrt(squares[0]), std::sqrt(squares[1]), std::sqrt(squares[2]),
                     std::sqrt(squares[3])};
    for (int l = 0; l < 32; ++l) {
      w_[l] = mean + (x_[l] < 0 ? -x_[l] : x_[l]);
      sum_w_ += w_[l];
      sum_wx_ += w_[l] * x_[l];
    }
  }

  // x ~ scale * q + min.
  struct Fit {
    Lanes scale, min;
    Lanes q[32];
  };

  Fit run() const {
    const Mask flat = high_ == low_;
    Fit best;
    const Lanes first = levels_ / (flat ? all(1) : high_ - low_);
    best.scale = 1 / first;
    best.min = low_;
    round(first, low_, best.q);
    Lanes least = error(best);
    for (int s = 0; s <= rule_.tries; ++s) {
      // The min of each try is the one accepted so far.
      const float more = rule_.first + 0.1f * static_cast<float>(s);
      Fit next;
      round((more + levels_) / (high_ - best.min), best.min, next.q);
      const Mask determined = least_squares(&next);
      const Lanes found = error(next);
      const Mask better = (found < least) & determined;
      least = better ? found : least;
      best.scale = better ? next.scale : best.scale;
      best.min = better ? next.min : best.min;
      for (int l = 0; l < 32; ++l) best.q[l] = better ? next.q[l] : best.q[l];
    }
    best.scale = flat ? Lanes{} : best.scale;
    best.min = flat ? low_ : best.min;
    for (Lanes& q : best.q) q = flat ? Lanes{} : q;
    return best;
  }

 private:
  void round(Lanes inv, Lanes min, Lanes* q) const {
    for (int l = 0; l < 32; ++l) q[l] = round_clamped(inv * (x_[l] - min), Lanes{}, levels_);
  }

  Lanes error(const Fit& fit) const {
    Lanes sum{};
    for (int l = 0; l < 32; ++l) {
      const Lanes rest = fit.scale * fit.q[l] + fit.min - x_[l];
      sum += w_[l] * (rest * rest);
    }
    return sum;
  }

  // Sets scale and min to the weighted least squares for the codes. The mask says where they are determined.
  Mask least_squares(Fit* fit) const {
    Lanes wq{}, wqq{}, wqx{};
    for (int l = 0; l < 32; ++l) {
      const Lanes weighted = w_[l] * fit->q[l];
      wq += weighted;
      wqq += weighted * fit->q[l];
      wqx += weighted * x_[l];
    }
    const Lanes determinant = sum_w_ * wqq - wq * wq;
    fit->scale = (sum_w_ * wqx - sum_wx_ * wq) / determinant;
    fit->min = (wqq * sum_wx_ - wq * wqx) / determinant;
    const Mask above = fit->min > 0;
    fit->scale = above ? wqx / wqq : fit->scale;
    fit->min = above ? Lanes{} : fit->min;
    return determinant > 0;
  }

  KMinRule rule_;
  Lanes levels_, low_, high_, sum_w_{}, sum_wx_{};
  Lanes x_[32], w_[32];
};

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
  FourFits::Fit fits;
  float scale[8], min[8], max_scale = 0, max_min = 0;
  for (int j = 0; j < 8; ++j) {
    if (j % 4 == 0) fits = FourFits(x + 32 * j, rule).run();
    for (int l = 0; l < 32; ++l) block.q[32 * j + l] = static_cast<std::uint8_t>(fits.q[l][j % 4]);
    scale[j] = fits.scale[j % 4];
    min[j] = -fits.min[j % 4];
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
