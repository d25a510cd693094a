// Four floats in one register, in plain C++: what runs in lanes gives the same numbers on every CPU, since
// the lanes are part of the text and no compiler has to find them.
#pragma once

#include <cstring>

namespace tessera::quant {

using Lanes = float __attribute__((vector_size(16)));
using Mask = decltype(Lanes{} < Lanes{});  // of each lane all bits or none

inline Lanes load(const float* x) {
  Lanes lanes;
  std::memcpy(&lanes, x, sizeof lanes);
  return lanes;
}

inline Lanes all(float v) { return Lanes{v, v, v, v}; }

// As nearest() of block.h: clamped, then rounded to the nearest, ties to even.
inline Lanes round_clamped(Lanes v, Lanes low, Lanes high) {
  v = v < low ? low : v;
  v = v < high ? v : high;
  return (v + 12582912.0f) - 12582912.0f;
}

inline float sum(Lanes v) { return (v[0] + v[2]) + (v[1] + v[3]); }

}  // namespace tessera::quant
