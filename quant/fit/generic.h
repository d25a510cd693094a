// The kernels of quant/fit/kernels.h on registers of kLanes floats, a constant that the including file
// defines: plain C++ with the compilers' vectors, so that the text is the same for every level.
#pragma once

namespace {

using tessera::quant::Elements;
using tessera::quant::ErrorBatch;
using tessera::quant::FitKernels;
using tessera::quant::KMinFits;
using tessera::quant::KMinRule;
using tessera::quant::LineBest;
using tessera::quant::LineGrid;
using tessera::quant::LineSums;
using tessera::quant::Q6Fits;
using tessera::quant::ScaleBest;
using tessera::quant::ScaleGrid;
using tessera::quant::StepBatch;
using tessera::quant::StepBest;
using tessera::quant::StepModel;

constexpr int kBatch = tessera::quant::kLanesPerBatch;

template <int N>
struct VectorOf {
  using Type __attribute__((vector_size(4 * N))) = float;
};

template <typename V>
V load(const float* x) {
  V v;
  __builtin_memcpy(&v, x, sizeof v);
  return v;
}

template <typename V>
void store(float* x, V v) {
  __builtin_memcpy(x, &v, sizeof v);
}

template <typename V>
V all(float x) {
  return x - V{};
}

// As nearest() of quant/block.h: clamped, then rounded to the nearest, ties to even.
template <typename V>
V nearest(V v, V low, V high) {
  v = v < low ? low : v;
  v = v < high ? v : high;
  return (v + 12582912.0f) - 12582912.0f;
}

template <typename V>
V inverse(V v) {
  const V i = 1.0f / v;
  return i - i == V{} ? i : V{};
}

using Lanes = VectorOf<kLanes>::Type;

// One register of lanes and what they have found.
class Scales {
 public:
  Scales(const Elements& elements, int lane, ScaleBest* best)
      : elements_(elements),
        low_(all<Lanes>(elements.low)),
        high_(all<Lanes>(elements.high)),
        scale_at_(best->scale + lane),
        merit_at_(best->merit + lane),
        scale_(load<Lanes>(scale_at_)),
        merit_(load<Lanes>(merit_at_)) {}

  void consider(Lanes inv) {
    Lanes wxq{}, wqq{};
    for (int l = 0; l < elements_.n; ++l) {
      const Lanes x = all<Lanes>(elements_.x[l]), q = nearest(x * inv, low_, high_);
      const Lanes weighted = all<Lanes>(elements_.w[l]) * q;
      wxq += weighted * x;
      wqq += weighted * q;
    }
    const Lanes scale = wxq / wqq, merit = scale * wxq;
    const auto better = merit > merit_;
    scale_ = better ? scale : scale_;
    merit_ = better ? merit : merit_;
  }

  Lanes scale() const { return scale_; }
  void keep() const {
    store(scale_at_, scale_);
    store(merit_at_, merit_);
  }

 private:
  const Elements& elements_;
  Lanes low_, high_;
  float* scale_at_;
  float* merit_at_;
  Lanes scale_, merit_;
};

void try_scales(const Elements& elements, const ScaleGrid& grid, ScaleBest* best) noexcept {
  for (int c = 0; c < kBatch; c += kLanes) {
    Scales scales(elements, c, best);
    for (int b = 0; b < grid.batches; ++b)
      scales.consider(load<Lanes>(grid.steps + kBatch * b + c) * grid.unit);
    scales.keep();
  }
}

void settle_scales(const Elements& elements, int rounds, ScaleBest* best) noexcept {
  for (int c = 0; c < kBatch; c += kLanes) {
    Scales scales(elements, c, best);
    for (int i = 0; i < rounds; ++i) scales.consider(inverse(scales.scale()));
    scales.keep();
  }
}

class Lines {
 public:
  Lines(const Elements& elements, const LineSums& sums, int lane, LineBest* best)
      : elements_(elements),
        sums_(sums),
        high_(all<Lanes>(elements.high)),
        highest_min_(all<Lanes>(sums.highest_min)),
        scale_at_(best->scale + lane),
        min_at_(best->min + lane),
        gain_at_(best->gain + lane),
        scale_(load<Lanes>(scale_at_)),
        min_(load<Lanes>(min_at_)),
        gain_(load<Lanes>(gain_at_)) {}

  void consider(Lanes inv, Lanes start) {
    Lanes wq{}, wqq{}, wxq{};
    for (int l = 0; l < elements_.n; ++l) {
      const Lanes x = all<Lanes>(elements_.x[l]), q = nearest((x - start) * inv, Lanes{}, high_);
      const Lanes weighted = all<Lanes>(elements_.w[l]) * q;
      wq += weighted;
      wqq += weighted * q;
      wxq += weighted * x;
    }
    const Lanes determinant = sums_.w * wqq - wq * wq;
    Lanes scale = (sums_.w * wxq - sums_.wx * wq) / determinant;
    Lanes min = (wqq * sums_.wx - wq * wxq) / determinant;
    const auto above = min > highest_min_;
    scale = above ? (wxq - highest_min_ * wq) / wqq : scale;
    min = above ? highest_min_ : min;
    const Lanes gain =
        min * (2.0f * sums_.wx - min * sums_.w) + scale * (2.0f * (wxq - min * wq) - scale * wqq);
    const auto better = (determinant > Lanes{}) & (gain > gain_);
    scale_ = better ? scale : scale_;
    min_ = better ? min : min_;
    gain_ = better ? gain : gain_;
  }

  Lanes scale() const { return scale_; }
  Lanes min() const { return min_; }
  void keep() const {
    store(scale_at_, scale_);
    store(min_at_, min_);
    store(gain_at_, gain_);
  }

 private:
  const Elements& elements_;
  const LineSums& sums_;
  Lanes high_, highest_min_;
  float* scale_at_;
  float* min_at_;
  float* gain_at_;
  Lanes scale_, min_, gain_;
};

void try_lines(const Elements& elements, const LineSums& sums, const LineGrid& grid,
               LineBest* best) noexcept {
  const float step = grid.range / elements.high;
  for (int c = 0; c < kBatch; c += kLanes) {
    Lines lines(elements, sums, c, best);
    for (int b = 0; b < grid.batches; ++b) {
      const Lanes low = load<Lanes>(grid.low + kBatch * b + c),
                  high = load<Lanes>(grid.high + kBatch * b + c);
      lines.consider(elements.high / (grid.range - (low + high) * step), low * step);
    }
    lines.keep();
  }
}

void settle_lines(const Elements& elements, const LineSums& sums, int rounds, LineBest* best) noexcept {
  for (int c = 0; c < kBatch; c += kLanes) {
    Lines lines(elements, sums, c, best);
    for (int i = 0; i < rounds; ++i) lines.consider(inverse(lines.scale()), lines.min());
    lines.keep();
  }
}

void errors(const Elements& elements, ErrorBatch* batch) noexcept {
  const Lanes low = all<Lanes>(elements.low), high = all<Lanes>(elements.high);
  for (int c = 0; c < kBatch; c += kLanes) {
    const Lanes scale = load<Lanes>(batch->scale + c), min = load<Lanes>(batch->min + c),
                inv = inverse(scale);
    Lanes error{};
    for (int l = 0; l < elements.n; ++l) {
      const Lanes y = all<Lanes>(elements.x[l]) - min;
      const Lanes rest = y - scale * nearest(y * inv, low, high);
      error += all<Lanes>(elements.w[l]) * (rest * rest);
    }
    store(batch->error + c, error);
  }
}

void keep_better(Lanes value, decltype(Lanes{} < Lanes{}) better, float* at) {
  store(at, better ? value : load<Lanes>(at));
}

void try_steps(const Elements& columns, const StepBatch& batch, StepBest* best) noexcept {
  const Lanes low = all<Lanes>(columns.low), high = all<Lanes>(columns.high);
  for (int c = 0; c < kBatch; c += kLanes) {
    const Lanes s = load<Lanes>(batch.s + c), m = load<Lanes>(batch.m + c);
    const Lanes scale = batch.d * s, min = -(batch.dmin * m), inv = inverse(scale);
    Lanes error{}, wq{}, wqq{}, wxq{};
    for (int l = 0; l < columns.n; ++l) {
      const Lanes x = load<Lanes>(columns.x + kBatch * l + c), w = load<Lanes>(columns.w + kBatch * l + c);
      const Lanes y = x - min, q = nearest(y * inv, low, high), rest = y - scale * q, weighted = w * q;
      error += w * (rest * rest);
      wq += weighted;
      wqq += weighted * q;
      wxq += weighted * x;
    }
    const auto better = error < load<Lanes>(best->error + c);
    keep_better(error, better, best->error + c);
    keep_better(s, better, best->s + c);
    keep_better(m, better, best->m + c);
    keep_better(wq, better, best->wq + c);
    keep_better(wqq, better, best->wqq + c);
    keep_better(wxq, better, best->wxq + c);
  }
}

void cost_steps(StepModel* model) noexcept {
  const Lanes zero{}, most = all<Lanes>(63), dmin = all<Lanes>(model->dmin), min_units = inverse(dmin);
  for (int c = 0; c < kBatch; c += kLanes) {
    const Lanes d = load<Lanes>(model->d + c), units = inverse(d);
    Lanes sum{};
    for (int j = 0; j < 8; ++j) {
      const float scale = model->scale[j], min = model->min[j];
      const float w = model->w[j], wq = model->wq[j], wqq = model->wqq[j], slope = w > 0 ? wq / w : 0;
      // The cost with the scale s and the min that goes best with it.
      const auto cost = [&](Lanes s) {
        const Lanes ds = d * s - scale, m = nearest((slope * ds - min) * min_units, zero, most);
        const Lanes dm = -(dmin * m) - min;
        return ds * (wqq * ds + 2.0f * wq * dm) + w * dm * dm;
      };
      const Lanes below = nearest(scale * units - 0.5f, zero, most - 1.0f);
      const Lanes down = cost(below), up = cost(below + 1.0f);
      sum += down < up ? down : up;
    }
    store(model->cost + c, sum);
  }
}

// One register of the columns of fit_k_min.
template <typename V>
class KMinColumns {
 public:
  KMinColumns(const float* x, const KMinRule& rule)
      : rule_(rule), levels_(all<V>(static_cast<float>(rule.levels))) {
    V squares{};
    low_ = high_ = load<V>(x);
    for (int l = 0; l < 32; ++l) {
      x_[l] = load<V>(x + 8 * l);
      squares += x_[l] * x_[l];
      low_ = x_[l] < low_ ? x_[l] : low_;
      high_ = high_ < x_[l] ? x_[l] : high_;
    }
    low_ = low_ < V{} ? low_ : V{};
    V mean = squares / 32.0f;
    for (int j = 0; j < kColumns; ++j) mean[j] = __builtin_sqrtf(mean[j]);
    for (int l = 0; l < 32; ++l) {
      w_[l] = mean + (x_[l] < V{} ? -x_[l] : x_[l]);
      sum_w_ += w_[l];
      sum_wx_ += w_[l] * x_[l];
    }
  }

  // Writes 1 scale, 1 min and 32 codes for each column.
  void run(float* scales, float* mins, float* codes) {
    const auto flat = high_ == low_;
    V best_inv = levels_ / (flat ? all<V>(1) : high_ - low_), best_start = low_;
    V scale = 1.0f / best_inv, min = low_;
    round(best_inv, best_start);
    V least = error(scale, min);
    for (int s = 0; s <= rule_.tries; ++s) {
      // The min of each try is the one accepted so far.
      const float more = rule_.first + 0.1f * static_cast<float>(s);
      const V inv = (more + levels_) / (high_ - min), start = min;
      V next_scale, next_min;
      const auto determined = least_squares(inv, start, &next_scale, &next_min);
      const V found = error(next_scale, next_min);
      const auto better = (found < least) & determined;
      least = better ? found : least;
      scale = better ? next_scale : scale;
      min = better ? next_min : min;
      best_inv = better ? inv : best_inv;
      best_start = better ? start : best_start;
    }
    round(best_inv, best_start);
    store(scales, flat ? V{} : scale);
    store(mins, flat ? low_ : min);
    for (int l = 0; l < 32; ++l) store(codes + 8 * l, flat ? V{} : q_[l]);
  }

 private:
  static constexpr int kColumns = sizeof(V) / 4;

  void round(V inv, V start) {
    for (int l = 0; l < 32; ++l) q_[l] = nearest(inv * (x_[l] - start), V{}, levels_);
  }

  V error(V scale, V min) const {
    V sum{};
    for (int l = 0; l < 32; ++l) {
      const V rest = scale * q_[l] + min - x_[l];
      sum += w_[l] * (rest * rest);
    }
    return sum;
  }

  // Sets the codes, and scale and min to their weighted least squares. The mask says where they are
  // determined.
  auto least_squares(V inv, V start, V* scale, V* min) {
    V wq{}, wqq{}, wqx{};
    for (int l = 0; l < 32; ++l) {
      const V q = nearest(inv * (x_[l] - start), V{}, levels_), weighted = w_[l] * q;
      q_[l] = q;
      wq += weighted;
      wqq += weighted * q;
      wqx += weighted * x_[l];
    }
    const V determinant = sum_w_ * wqq - wq * wq;
    *scale = (sum_w_ * wqx - sum_wx_ * wq) / determinant;
    *min = (wqq * sum_wx_ - wq * wqx) / determinant;
    const auto above = *min > V{};
    *scale = above ? wqx / wqq : *scale;
    *min = above ? V{} : *min;
    return determinant > V{};
  }

  KMinRule rule_;
  V levels_, low_, high_, sum_w_{}, sum_wx_{};
  V x_[32], w_[32], q_[32];
};

void fit_k_min(const float* x, const KMinRule& rule, KMinFits* fits) noexcept {
  constexpr int kWidth = kLanes < 8 ? kLanes : 8;
  for (int j = 0; j < 8; j += kWidth) {
    KMinColumns<VectorOf<kWidth>::Type>(x + j, rule).run(fits->scale + j, fits->min + j, fits->q + j);
  }
}

void fit_q6(const float* x, Q6Fits* fits) noexcept {
  const Lanes low = all<Lanes>(-32), high = all<Lanes>(31);
  for (int j = 0; j < 16; j += kLanes) {
    Lanes largest{}, largest_magnitude{};
    for (int l = 0; l < 16; ++l) {
      const Lanes v = load<Lanes>(x + 16 * l + j), magnitude = v < Lanes{} ? -v : v;
      const auto larger = magnitude > largest_magnitude;
      largest = larger ? v : largest;
      largest_magnitude = larger ? magnitude : largest_magnitude;
    }
    Lanes best_inv{}, scale{}, merit{};
    for (int i = 0; i < 20; ++i) {
      const int s = i == 0 ? 0 : i - 10;  // the middle first
      if (i > 0 && s == 0) continue;
      const Lanes inv = -(32 + 0.1f * static_cast<float>(s)) / largest;
      Lanes wxq{}, wqq{};
      for (int l = 0; l < 16; ++l) {
        const Lanes v = load<Lanes>(x + 16 * l + j), q = nearest(inv * v, low, high), w = v * v;
        wxq += w * v * q;
        wqq += w * q * q;
      }
      const auto better = i == 0 ? wqq == wqq : (wqq > Lanes{}) & (wxq * wxq > merit * wqq);
      const Lanes next = wqq == Lanes{} ? Lanes{} : wxq / wqq;
      best_inv = better ? inv : best_inv;
      scale = better ? next : scale;
      merit = better ? next * wxq : merit;
    }
    const auto tiny = largest_magnitude < all<Lanes>(1e-15f);
    store(fits->scale + j, tiny ? Lanes{} : scale);
    for (int l = 0; l < 16; ++l) {
      const Lanes q = nearest(best_inv * load<Lanes>(x + 16 * l + j), low, high);
      store(fits->q + 16 * l + j, tiny ? low : q);
    }
  }
}

constexpr FitKernels kKernels{try_scales, try_lines,  settle_scales, settle_lines, errors,
                              try_steps,  cost_steps, fit_k_min,     fit_q6};

}  // namespace
