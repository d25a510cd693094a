// The searches of the better encoders: scales (and mins) for which the nearest codes leave a small sum of
// w * (x - decoded)^2.
//
// With codes held fixed the best scale follows from least squares; with the scale held fixed the best codes
// are the nearest ones. The error has many local minima, so each search tries a grid of scales, from beyond
// the block's range to far inside it (an element that matters little may be clipped), in batches of sixteen;
// the best of each lane then alternate the two steps.
//
// The kernels decide how fast a search is, never what it finds (quant/fit/kernels.h).
#pragma once

#include <cstdint>

#include "quant/fit/kernels.h"

namespace tessera::quant {

// The element of the largest magnitude, with its sign; of equals the first; 0 if all are.
float largest_magnitude(const float* x, int n);

// x ~ scale * q, low < 0 < high. 0 if no scale is better than none.
float fit_scale(const FitKernels& kernels, const Elements& elements);

// The same for a scale of 16 bits: the best of the f16 numbers around the best floats.
std::uint16_t fit_f16_scale(const FitKernels& kernels, const Elements& elements);

// x ~ scale * q + min, q in 0 … elements.high.
struct Line {
  float scale, min;
};
enum class MinRule { kAny, kNotPositive };
Line fit_line(const FitKernels& kernels, const Elements& elements, MinRule rule);  // 32 elements

// The same with both numbers in 16 bits, and with any min.
struct HalfLine {
  std::uint16_t scale, min;
};
HalfLine fit_f16_line(const FitKernels& kernels, const Elements& elements);

}  // namespace tessera::quant
