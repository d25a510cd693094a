#include "quant/fit/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/block.h"
#include "quant/half.h"

namespace tessera::quant {
namespace {

constexpr int kLanes = kLanesPerBatch;

// How many scales the largest element may measure, with both signs of the scale: from high * 0.7 to a bit
// more than there are codes, and, where it may be clipped, on to high * 12. In turn over the lanes.
template <int kCodes>
struct ScaleSteps {
  static constexpr int kNear = kCodes > 32 ? 3 : 4, kFar = 3;  // batches
  float near[kLanes * kNear], far[kLanes * kFar];

  constexpr ScaleSteps() : near(), far() {
    constexpr float kFirst = 0.7f * (kCodes / 2 - 1), kLast = kCodes / 2 + 1.7f;
    constexpr float kStep = (kLast - kFirst) / (kLanes / 2 * kNear - 1);
    for (int i = 0; i < kLanes * kNear; i += 2) {
      near[i] = kFirst + kStep * static_cast<float>(i / 2);
      near[i + 1] = -near[i];
    }
    float steps = kLast * 1.05f;
    for (int i = 0; i < kLanes * kFar; i += 2, steps *= 1.1f) {
      far[i] = steps;
      far[i + 1] = -steps;
    }
  }
};
template <int kCodes>
constexpr ScaleSteps<kCodes> kScaleSteps;

float highest(const float* lanes) {
  float most[4];
  for (int c = 0; c < 4; ++c) most[c] = lanes[c];
  for (int c = 4; c < kLanes; ++c) most[c % 4] = lanes[c] > most[c % 4] ? lanes[c] : most[c % 4];
  return std::max(std::max(most[0], most[1]), std::max(most[2], most[3]));
}

// The lane of the highest number; of equals the first.
int lane_of(const float* lanes, float number) {
  return static_cast<int>(std::find(lanes, lanes + kLanes - 1, number) - lanes);
}

// The scales of a grid, each improved by least squares for its codes.
template <int kCodes>
void search_scales(const FitKernels& kernels, const Elements& elements, ScaleBest* best) {
  *best = {};
  float largest = 0, weight = 0, energy = 0;
  for (int l = 0; l < elements.n; ++l) {
    const float x = elements.x[l], magnitude = std::fabs(x), w = elements.w[l];
    weight = magnitude > largest ? w : weight;
    largest = magnitude > largest ? magnitude : largest;
    energy += w * x * x;
  }
  if (!(largest > std::numeric_limits<float>::min())) return;
  using Steps = ScaleSteps<kCodes>;
  const Steps& grid = kScaleSteps<kCodes>;
  const float unit = 1 / largest;
  kernels.try_scales(elements, {grid.near, Steps::kNear, unit}, best);
  for (int b = 0; b < Steps::kFar; ++b) {
    const float* far = grid.far + kLanes * b;
    // What clipping costs the largest element at least.
    const float clipped = largest * (1 + elements.low / far[0]);
    if (weight * clipped * clipped > energy - highest(best->merit)) break;
    kernels.try_scales(elements, {far, 1, unit}, best);
  }
  kernels.settle_scales(elements, 1, best);
}

void search_scales(const FitKernels& kernels, const Elements& elements, ScaleBest* best) {
  if (elements.high == 7) return search_scales<16>(kernels, elements, best);
  if (elements.high == 15) return search_scales<32>(kernels, elements, best);
  search_scales<64>(kernels, elements, best);
}

// Steps by which the ends of the codes lie inside the ends of the block.
constexpr float kInside[] = {-0.5f, -0.1f, 0.3f, 0.7f, 1.1f, 1.6f, 2.2f, 3.0f, 4.5f, 7.0f};

// By how many steps the ends of the codes lie inside the ends of the block, in turn over the lanes: first
// fewer codes than there are, so that few different numbers may fall on codes exactly; then a square grid,
// the least clipping first.
template <int kLevels>
struct LineSteps {
  static constexpr int kFewer = kLevels / 2, kBatches = (kFewer + 100 + kLanes - 1) / kLanes;
  float low[kLanes * kBatches], high[kLanes * kBatches];

  constexpr LineSteps() : low(), high() {
    for (int c = 0; c < kFewer; ++c) {
      const float codes = kLevels - 1 - c;
      high[c] = kLevels * (1 - kLevels / codes);
    }
    int order[100];
    for (int i = 0; i < 100; ++i) order[i] = i;
    std::sort(order, order + 100, [](int i, int j) {
      return clipping(i) < clipping(j) || (clipping(i) == clipping(j) && i < j);
    });
    for (int i = kFewer; i < kLanes * kBatches; ++i) {
      const int place = order[i < kFewer + 100 ? i - kFewer : 99];
      low[i] = kInside[place / 10];
      high[i] = kInside[place % 10];
    }
  }
  static constexpr float clipping(int place) {
    const float a = kInside[place / 10], b = kInside[place % 10];
    return (a > 0 ? a * a : 0) + (b > 0 ? b * b : 0);
  }
};
constexpr LineSteps<15> kLineSteps15;
constexpr LineSteps<31> kLineSteps31;

// One block of 32 for fit_line: y = x - min(x), which keeps the digits of a block far from zero.
class LineSearch {
 public:
  LineSearch(const FitKernels& kernels, const Elements& elements, MinRule rule)
      : kernels_(kernels), elements_(elements) {
    const float *x = elements.x, *w = elements.w;
    float low = x[0], high = x[0];
    for (int l = 1; l < 32; ++l) {
      low = x[l] < low ? x[l] : low;
      high = x[l] > high ? x[l] : high;
    }
    base_ = rule == MinRule::kNotPositive ? std::min(low, 0.0f) : low;
    range_ = high - base_;
    w_low_ = low > base_ ? 0 : w[std::find(x, x + 31, low) - x];
    w_high_ = w[std::find(x, x + 31, high) - x];
    sums_.highest_min = rule == MinRule::kNotPositive ? -base_ : std::numeric_limits<float>::infinity();
    for (int l = 0; l < 32; ++l) {
      y_[l] = x[l] - base_;
      sums_.w += w[l];
      sums_.wx += w[l] * y_[l];
      energy_ += w[l] * y_[l] * y_[l];
    }
    elements_.x = y_;
  }

  void run() {
    if (!(range_ > std::numeric_limits<float>::min())) return;
    elements_.high == 15 ? run(kLineSteps15) : run(kLineSteps31);
  }

  // The best line of a lane.
  Line line(int lane) const { return {best_.scale[lane], best_.min[lane] + base_}; }
  int best_lane() const { return lane_of(best_.gain, highest(best_.gain)); }

 private:
  template <typename Steps>
  void run(const Steps& steps) {
    kernels_.try_lines(elements_, sums_, {steps.low, steps.high, 2, range_}, &best_);
    for (int b = 2; b < Steps::kBatches; ++b) {
      const float *low = steps.low + kLanes * b, *high = steps.high + kLanes * b;
      if (least_clipping(low, high) > energy_ - highest(best_.gain)) continue;
      kernels_.try_lines(elements_, sums_, {low, high, 1, range_}, &best_);
    }
    kernels_.settle_lines(elements_, sums_, 1, &best_);
  }

  // What clipping costs the two elements at the ends at least in a batch.
  float least_clipping(const float* low, const float* high) const {
    float costs[kLanes];
    for (int c = 0; c < kLanes; ++c) {
      const float a = low[c] > 0 ? low[c] : 0, b = high[c] > 0 ? high[c] : 0;
      costs[c] = -(w_low_ * a * a + w_high_ * b * b);
    }
    const float step = range_ / elements_.high;
    return -highest(costs) * step * step;
  }

  const FitKernels& kernels_;
  Elements elements_;
  LineSums sums_{};
  float base_ = 0, range_ = 0, energy_ = 0;
  float w_low_ = 0, w_high_ = 0;  // weights of the lowest and the highest element
  float y_[32];
  LineBest best_{};
};

bool all_equal(const float* x) {
  return std::all_of(x, x + 32, [x](float v) { return v == x[0]; });
}

// The f16 number that lies `steps` codes from `half`, away from zero for positive steps.
std::uint16_t neighbour(std::uint16_t half, int steps) {
  const int magnitude = std::clamp((half & 0x7FFF) + steps, 0, 0x7BFF);
  return static_cast<std::uint16_t>((half & 0x8000) | magnitude);
}

// The lane with the smallest error.
HalfLine best_half(const FitKernels& kernels, const Elements& elements, const HalfLine* halves) {
  ErrorBatch batch;
  for (int c = 0; c < kLanes; ++c) {
    batch.scale[c] = f16_to_f32(halves[c].scale);
    batch.min[c] = f16_to_f32(halves[c].min);
  }
  kernels.errors(elements, &batch);
  for (float& error : batch.error) error = -error;
  return halves[lane_of(batch.error, highest(batch.error))];
}

}  // namespace

float largest_magnitude(const float* x, int n) {
  float largest = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

float fit_scale(const FitKernels& kernels, const Elements& elements) {
  ScaleBest best;
  search_scales(kernels, elements, &best);
  return best.scale[lane_of(best.merit, highest(best.merit))];
}

std::uint16_t fit_f16_scale(const FitKernels& kernels, const Elements& elements) {
  const float first = elements.x[0];
  if (all_equal(elements.x) && f16_to_f32(f32_to_f16(first)) == first)
    return f32_to_f16(first);  // exact with code 1
  ScaleBest best;
  search_scales(kernels, elements, &best);
  HalfLine halves[kLanes] = {};
  for (int c = 0; c < kLanes; ++c) halves[c].scale = f32_to_f16(best.scale[c]);
  // Neighbours of the best, in place of two others.
  const int lane = lane_of(best.merit, highest(best.merit));
  for (const int steps : {-1, 1})
    halves[(lane + kLanes / 2 + steps) % kLanes].scale = neighbour(halves[lane].scale, steps);
  return best_half(kernels, elements, halves).scale;
}

Line fit_line(const FitKernels& kernels, const Elements& elements, MinRule rule) {
  LineSearch search(kernels, elements, rule);
  search.run();
  return search.line(search.best_lane());
}

HalfLine fit_f16_line(const FitKernels& kernels, const Elements& elements) {
  const float first = elements.x[0];
  if (all_equal(elements.x)) {
    const std::uint16_t min = f32_to_f16(first);  // and one code for what it lacks
    return {f32_to_f16(first - f16_to_f32(min)), min};
  }
  LineSearch search(kernels, elements, MinRule::kAny);
  search.run();
  HalfLine halves[kLanes];
  for (int c = 0; c < kLanes; ++c)
    halves[c] = {f32_to_f16(search.line(c).scale), f32_to_f16(search.line(c).min)};
  // Neighbours of the best, in place of eight others.
  const int lane = search.best_lane();
  int at = lane;
  for (const int a : {0, -1, 1}) {
    for (const int b : {0, -1, 1}) {
      halves[at] = {neighbour(halves[lane].scale, a), neighbour(halves[lane].min, b)};
      at = (at + 1) % kLanes;
    }
  }
  return best_half(kernels, elements, halves);
}

}  // namespace tessera::quant
