// The searches of the better encoders: scales (and mins) for which the nearest codes leave a small sum of
// w * (x - decoded)^2.
//
// With codes held fixed the best scale follows from least squares; with the scale held fixed the best codes
// are the nearest ones. The error has many local minima, so each search tries a grid of scales, from beyond
// the block's range to far inside it (an element that matters little may be clipped), then alternates the
// two steps from the best places of the grid.
#pragma once

#include <cstdint>

namespace tessera::quant {

// The element of the largest magnitude, with its sign; of equals the first; 0 if all are.
float largest_magnitude(const float* x, int n);

// x ~ scale * q, q in low … high with low < 0 < high. n is 16 or 32. 0 if no scale is better than none.
float fit_scale(const float* x, const float* w, int n, int low, int high);

// The same for 32 elements and a scale of 16 bits: the best of the f16 numbers around the best float.
std::uint16_t fit_f16_scale(const float* x, const float* w, int low, int high);

// x ~ scale * q + min, q in 0 … levels.
struct Line {
  float scale, min;
};
enum class MinRule { kAny, kNotPositive };
Line fit_line(const float* x, const float* w, int levels, MinRule rule);  // 32 elements

// The same with both numbers in 16 bits.
struct HalfLine {
  std::uint16_t scale, min;
};
HalfLine fit_f16_line(const float* x, const float* w, int levels);

// Sums over 32 elements with the codes q nearest to a line.
struct LineSums {
  float wq, wqq, wxq;
};
LineSums line_sums(const float* x, const float* w, Line line, int levels);

// Sum over 32 or 16 elements of w * (x - offset - scale * q)^2 with the nearest q in low … high.
float squared_error(const float* x, const float* w, int n, Line line, int low, int high);

}  // namespace tessera::quant
