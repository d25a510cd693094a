#include "models/image/resize.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "models/image/limits.h"
#include "ops/ops.h"
#include "ops/resample/kernels.h"
#include "tensor/error.h"
#include "tensor/executor.h"
#include "tensor/plan.h"

namespace tessera {
namespace {

constexpr std::int64_t kMaxArea = std::int64_t{1} << 40;
constexpr int kMaxFactor = 4096;
constexpr std::uint64_t kMaxAspect = 200;  // MAX_RATIO of the reference

[[noreturn]] void usage(const std::string& field, const std::string& reason) {
  throw Error(ErrorCode::kUsage, "", field, reason);
}

// nearbyint in the default rounding mode is Python's round: half to even.
std::int64_t nearest_multiple(int side, int factor) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(side) / factor)) * factor;
}

double cubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0.0;
}

// Output sample o is the sum over k of weights[o · taps + k] · input[first[o] + k]. Rows are padded with
// weights of zero, and first moved down where needed, so that every row has the same number of taps inside
// the input.
struct Filter {
  int taps = 0;
  std::vector<int> first;
  std::vector<std::int32_t> weights;
};

Filter make_filter(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = 2.0 * filter_scale;
  Filter filter;
  filter.taps = std::min(in, static_cast<int>(std::ceil(support)) * 2 + 1);
  const auto taps = static_cast<std::size_t>(filter.taps);
  filter.first.resize(static_cast<std::size_t>(out));
  filter.weights.resize(static_cast<std::size_t>(out) * taps);
  std::vector<double> row(taps);
  for (int o = 0; o < out; ++o) {
    const double center = (o + 0.5) * scale;
    const int low = std::max(0, static_cast<int>(center - support + 0.5));
    const int high = std::min(in, static_cast<int>(center + support + 0.5));
    double sum = 0;
    for (int j = low; j < high; ++j) {
      row[static_cast<std::size_t>(j - low)] = cubic((j - center + 0.5) * (1.0 / filter_scale));
      sum += row[static_cast<std::size_t>(j - low)];
    }
    const int first = std::min(low, in - filter.taps);
    filter.first[static_cast<std::size_t>(o)] = first;
    std::int32_t* weights = &filter.weights[static_cast<std::size_t>(o) * taps];
    for (int j = low; j < high; ++j) {
      const double w = row[static_cast<std::size_t>(j - low)] / sum * (1 << ops::kResampleFractionBits);
      weights[j - first] = static_cast<std::int32_t>(w < 0 ? w - 0.5 : w + 0.5);
    }
  }
  return filter;
}

// One pass: a step of the graph that reads and returns [h, w, 3].
Tensor resize_axis(Graph& g, const Operand& x, int axis, const Filter& filter) {
  const auto out = static_cast<std::int64_t>(filter.first.size());
  return ops::resample(g, x, axis, TensorView(DType::kI32, {out}, filter.first.data()),
                       TensorView(DType::kI32, {out, filter.taps}, filter.weights.data()));
}

}  // namespace

ImageSize smart_resize(ImageSize size, const ResizeRule& rule) {
  if (size.width < 1 || size.height < 1) usage("size", "a side is not positive");
  if (rule.factor < 1 || rule.factor > kMaxFactor) {
    usage("factor", "out of range (got " + std::to_string(rule.factor) + ", expected 1 to " +
                        std::to_string(kMaxFactor) + ")");
  }
  if (rule.min_pixels < 1 || rule.max_pixels < rule.min_pixels || rule.max_pixels > kMaxArea) {
    usage("min_pixels, max_pixels", "out of range (got " + std::to_string(rule.min_pixels) + " and " +
                                        std::to_string(rule.max_pixels) +
                                        ", expected 1 <= min <= max <= 2^40)");
  }
  check_aspect(size, kMaxAspect, "", "");
  const std::int64_t factor = rule.factor;
  std::int64_t height = nearest_multiple(size.height, rule.factor);
  std::int64_t width = nearest_multiple(size.width, rule.factor);
  const double area = static_cast<double>(size.height) * size.width;
  if (height * width > rule.max_pixels) {
    const double beta = std::sqrt(area / static_cast<double>(rule.max_pixels));
    const auto reduced = [&](int side) {
      return std::max(factor, static_cast<std::int64_t>(std::floor(side / beta / rule.factor)) * factor);
    };
    height = reduced(size.height);
    width = reduced(size.width);
  } else if (height * width < rule.min_pixels) {
    const double beta = std::sqrt(static_cast<double>(rule.min_pixels) / area);
    const auto enlarged = [&](int side) {
      return static_cast<std::int64_t>(std::ceil(side * beta / rule.factor)) * factor;
    };
    height = enlarged(size.height);
    width = enlarged(size.width);
  }
  return {static_cast<int>(width), static_cast<int>(height)};
}

Image resize_bicubic(const Image& image, ImageSize size, int threads) {
  if (size.width < 1 || size.height < 1) usage("size", "a side is not positive");
  check_pixels(image);
  if (size.width == image.width && size.height == image.height) return image;
  const std::int64_t lost_rows = std::int64_t{image.height} - size.height;
  const std::int64_t lost_columns = std::int64_t{image.width} - size.width;
  const bool rows_first = lost_rows > 0 && lost_rows > 2 * lost_columns;
  const int from[] = {image.height, image.width}, to[] = {size.height, size.width};
  Filter filters[2];  // the graph reads them
  Graph g;
  Tensor x = g.constant(
      TensorView(DType::kU8, {image.height, image.width, ops::kResampleChannels}, image.rgb.data()));
  for (const int axis : {rows_first ? 0 : 1, rows_first ? 1 : 0}) {
    if (from[axis] == to[axis]) continue;
    filters[axis] = make_filter(from[axis], to[axis]);
    x = resize_axis(g, x, axis, filters[axis]);
  }
  g.output(x);
  Executor executor(threads);
  executor.prepare(std::make_shared<const Plan>(Plan::make(g, Cpu::from_environment())));
  executor.run({});
  const TensorView out = executor.output(0);
  Image resized{size.width, size.height, {}, image.warnings};
  resized.rgb.assign(out.as<std::uint8_t>(), out.as<std::uint8_t>() + out.shape.elements());
  return resized;
}

}  // namespace tessera
