#include "quant/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/block.h"
#include "quant/half.h"
#include "quant/lanes.h"

namespace tessera::quant {
namespace {

struct ScaleSums {
  float wxq, wqq;
  float scale() const { return wxq / wqq; }
  // By how much the best scale for these codes lowers the error.
  float merit() const { return wqq > 0 ? wxq * wxq / wqq : 0; }
};

// Sums for the codes that 1 / inv gives, and for those that -1 / inv gives.
struct BothSigns {
  ScaleSums plus, minus;
};
template <int N>
BothSigns scale_sums(const float* x, const float* w, float inv, float low, float high) {
  Lanes wxq{}, wqq{}, wxp{}, wpp{};
  for (int i = 0; i < N; i += 4) {
    const Lanes v = load(x + i), weight = load(w + i);
    const Lanes r = round_clamped(v * inv, all(low), all(-low));  // |low| is the larger limit
    const Lanes q = r < high ? r : all(high), p = r > -high ? r : all(-high);
    const Lanes wv = weight * v;
    wxq += wv * q;
    wqq += weight * q * q;
    wxp += wv * p;
    wpp += weight * p * p;
  }
  return {{sum(wxq), sum(wqq)}, {-sum(wxp), sum(wpp)}};
}

// The scales of a grid, each improved by least squares for its codes.
class ScaleSearch {
 public:
  static constexpr int kMost = 200;

  template <int N>
  void run(const float* x, const float* w, float low, float high) {
    float largest = 0, weight = 0, energy = 0;
    for (int i = 0; i < N; ++i) {
      if (std::fabs(x[i]) > largest) largest = std::fabs(x[i]), weight = w[i];
      energy += w[i] * x[i] * x[i];
    }
    if (!(largest > std::numeric_limits<float>::min())) return;
    // steps: how many scales the largest element measures.
    const auto try_steps = [&](float steps) {
      const BothSigns sums = scale_sums<N>(x, w, steps / largest, low, high);
      add(sums.plus);
      add(sums.minus);
    };
    const float fine = high / kFine;
    for (int i = 0; i <= kFine * 7 / 8; ++i) try_steps(high * 0.5f + fine * static_cast<float>(i));
    for (float steps = high * 1.45f; steps < high * 12; steps *= 1.1f) {
      // What clipping costs the largest element, which grows with steps.
      const float clipped = largest * (1 + low / steps);
      if (weight * clipped * clipped > energy - best_) break;
      try_steps(steps);
    }
    for (int i = 0; i < 6 && best_ > 0; ++i) {
      const float before = best_;
      add(scale_sums<N>(x, w, inverse(best_scale_), low, high).plus);
      if (!(best_ > before)) break;
    }
  }

  float best() const { return best_scale_; }

  // Calls fn(scale) for each that may be the best of them after rounding to 16 bits, which moves a scale by
  // up to 2^-11 of itself and the error by up to 2^-22 of sum w * x^2; the float sums add their own noise.
  template <typename Fn>
  void each_near_best(Fn fn) const {
    for (int i = 0; i < count_; ++i) {
      if (merit_[i] >= best_ * (1 - 0x1p-19f)) fn(scale_[i]);
    }
  }

 private:
  static constexpr int kFine = 64;

  void add(const ScaleSums& sums) {
    const float merit = sums.merit();
    if (!(merit > 0) || count_ == kMost) return;
    merit_[count_] = merit;
    scale_[count_++] = sums.scale();
    if (merit > best_) best_ = merit, best_scale_ = sums.scale();
  }

  int count_ = 0;
  float best_ = 0, best_scale_ = 0;
  float merit_[kMost], scale_[kMost];
};

LineSums sums_of(const float* x, const float* w, float inv, float start, float levels) {
  Lanes wq{}, wqq{}, wxq{};
  for (int i = 0; i < 32; i += 4) {
    const Lanes v = load(x + i), q = round_clamped((v - start) * inv, Lanes{}, all(levels));
    const Lanes weighted = load(w + i) * q;
    wq += weighted;
    wqq += weighted * q;
    wxq += weighted * v;
  }
  return {sum(wq), sum(wqq), sum(wxq)};
}

template <int N>
float error_of(const float* x, const float* w, Line line, float low, float high) {
  const float inv = inverse(line.scale);
  Lanes error{};
  for (int i = 0; i < N; i += 4) {
    const Lanes y = load(x + i) - line.min;
    const Lanes rest = y - line.scale * round_clamped(y * inv, all(low), all(high));
    error += load(w + i) * rest * rest;
  }
  return sum(error);
}

// One block of 32 for fit_line: y = x - min(x), which keeps the digits of a block far from zero.
class LineSearch {
 public:
  LineSearch(const float* x, const float* w, int levels, MinRule rule)
      : w_(w), levels_(static_cast<float>(levels)) {
    const auto [low, high] = std::minmax_element(x, x + 32);
    base_ = rule == MinRule::kNotPositive ? std::min(*low, 0.0f) : *low;
    range_ = *high - base_;
    w_low_ = *low > base_ ? 0 : w[low - x];
    w_high_ = w[high - x];
    highest_min_ = rule == MinRule::kNotPositive ? -base_ : std::numeric_limits<float>::infinity();
    for (int i = 0; i < 32; ++i) {
      y_[i] = x[i] - base_;
      sum_w_ += w[i];
      sum_wy_ += w[i] * y_[i];
      energy_ += w[i] * y_[i] * y_[i];
    }
  }

  // The best lines found, the best of all first.
  static constexpr int kKept = 4;

  void run() {
    if (!(range_ > std::numeric_limits<float>::min())) {
      keep({{0, 0}, 0});
      return;
    }
    // Fewer codes than there are, so that few different numbers may fall on codes exactly.
    for (float codes = levels_; codes > levels_ * 0.5f; --codes) keep(improve({range_ / codes, 0}));
    // Steps by which the ends of the codes lie inside the ends of the block.
    static constexpr float kInside[] = {-0.5f, -0.1f, 0.3f, 0.7f, 1.1f, 1.6f, 2.2f, 3.0f, 4.5f, 7.0f};
    const float step = range_ / levels_;
    for (const float a : kInside) {
      for (const float b : kInside) {
        // What clipping costs the two elements at the ends.
        const float at_low = std::max(a, 0.0f) * step, at_high = std::max(b, 0.0f) * step;
        if (w_low_ * at_low * at_low + w_high_ * at_high * at_high > energy_ - kept_[0].gain) break;
        keep(improve({(range_ - (a + b) * step) / levels_, a * step}));
      }
    }
    Found found[kKept];
    std::copy_n(kept_, kKept, found);
    for (const Found& f : found) keep(settle(f));
  }

  Line line(int rank) const { return {kept_[rank].line.scale, kept_[rank].line.min + base_}; }

 private:
  struct Found {
    Line line{0, 0};
    float gain = 0;  // by how much it lowers the error below sum w * y^2
  };

  void keep(const Found& found) {
    if (!(found.gain > kept_[kKept - 1].gain)) return;
    for (const Found& other : kept_) {
      if (other.gain == found.gain && other.line.scale == found.line.scale) return;  // the same codes again
    }
    int rank = kKept - 1;
    for (; rank > 0 && found.gain > kept_[rank - 1].gain; --rank) kept_[rank] = kept_[rank - 1];
    kept_[rank] = found;
  }

  // The best line for the codes that `line` gives.
  Found improve(Line line) const {
    const LineSums s = sums_of(y_, w_, inverse(line.scale), line.min, levels_);
    const float determinant = sum_w_ * s.wqq - s.wq * s.wq;
    if (!(determinant > 0)) return {};
    Line best{(sum_w_ * s.wxq - sum_wy_ * s.wq) / determinant,
              (s.wqq * sum_wy_ - s.wq * s.wxq) / determinant};
    if (best.min > highest_min_) best = {(s.wxq - highest_min_ * s.wq) / s.wqq, highest_min_};
    const float gain = best.min * (2 * sum_wy_ - best.min * sum_w_) +
                       best.scale * (2 * (s.wxq - best.min * s.wq) - best.scale * s.wqq);
    return {best, gain};
  }

  Found settle(Found found) const {
    for (int i = 0; i < 6 && found.line.scale != 0; ++i) {
      const Found next = improve(found.line);
      if (!(next.gain > found.gain)) break;
      found = next;
    }
    return found;
  }

  const float* w_;
  float levels_, base_ = 0, range_ = 0, highest_min_ = 0, sum_w_ = 0, sum_wy_ = 0, energy_ = 0;
  float w_low_ = 0, w_high_ = 0;  // weights of the lowest and the highest element
  float y_[32];
  Found kept_[kKept];
};

bool all_equal(const float* x) {
  return std::all_of(x, x + 32, [x](float v) { return v == x[0]; });
}

// The f16 number that lies `steps` codes from `half`, away from zero for positive steps.
std::uint16_t neighbour(std::uint16_t half, int steps) {
  const int magnitude = std::clamp((half & 0x7FFF) + steps, 0, 0x7BFF);
  return static_cast<std::uint16_t>((half & 0x8000) | magnitude);
}

}  // namespace

float largest_magnitude(const float* x, int n) {
  float largest = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

float fit_scale(const float* x, const float* w, int n, int low, int high) {
  const auto lowest = static_cast<float>(low), highest = static_cast<float>(high);
  ScaleSearch search;
  n == 16 ? search.run<16>(x, w, lowest, highest) : search.run<32>(x, w, lowest, highest);
  return search.best();
}

LineSums line_sums(const float* x, const float* w, Line line, int levels) {
  return sums_of(x, w, inverse(line.scale), line.min, static_cast<float>(levels));
}

float squared_error(const float* x, const float* w, int n, Line line, int low, int high) {
  const auto lowest = static_cast<float>(low), highest = static_cast<float>(high);
  return n == 16 ? error_of<16>(x, w, line, lowest, highest) : error_of<32>(x, w, line, lowest, highest);
}

std::uint16_t fit_f16_scale(const float* x, const float* w, int low, int high) {
  const std::uint16_t first = f32_to_f16(x[0]);
  if (all_equal(x) && f16_to_f32(first) == x[0]) return first;  // exact with code 1
  ScaleSearch search;
  search.run<32>(x, w, static_cast<float>(low), static_cast<float>(high));
  std::uint16_t best = 0, last = 0;
  float least = std::numeric_limits<float>::infinity();
  search.each_near_best([&](float scale) {
    const std::uint16_t middle = f32_to_f16(scale);
    if (middle == last) return;
    last = middle;
    for (const int steps : {0, -1, 1}) {
      const std::uint16_t half = neighbour(middle, steps);
      const float error = squared_error(x, w, 32, {f16_to_f32(half), 0}, low, high);
      if (error < least) least = error, best = half;
    }
  });
  return best;
}

Line fit_line(const float* x, const float* w, int levels, MinRule rule) {
  LineSearch search(x, w, levels, rule);
  search.run();
  return search.line(0);
}

HalfLine fit_f16_line(const float* x, const float* w, int levels) {
  if (all_equal(x)) {
    const std::uint16_t min = f32_to_f16(x[0]);  // and one code for what it lacks
    return {f32_to_f16(x[0] - f16_to_f32(min)), min};
  }
  LineSearch search(x, w, levels, MinRule::kAny);
  search.run();
  HalfLine best{};
  float least = std::numeric_limits<float>::infinity();
  for (int rank = 0; rank < LineSearch::kKept; ++rank) {
    const Line line = search.line(rank);
    const HalfLine middle{f32_to_f16(line.scale), f32_to_f16(line.min)};
    for (const int a : {0, -1, 1}) {
      for (const int b : {0, -1, 1}) {
        const HalfLine half{neighbour(middle.scale, a), neighbour(middle.min, b)};
        const float error =
            squared_error(x, w, 32, {f16_to_f32(half.scale), f16_to_f32(half.min)}, 0, levels);
        if (error < least) least = error, best = half;
      }
    }
  }
  return best;
}

}  // namespace tessera::quant
