// Finished sums of a tile to its outputs, on vectors of either width.
#pragma once

#include "ops/simd/math.h"

namespace {

// `sum` with the bias, and what is to be done then; `load` reads as many floats as `sum` has.
template <typename Load>
inline F32 finished(const tessera::ops::MatmulTile& t, F32 sum, std::int64_t m, std::int64_t n, Load load) {
  using tessera::ops::MatmulThen;
  if (t.bias) sum = sum + load(t.bias + n);
  if (t.then == MatmulThen::kAdd) return load(t.other + m * t.y_stride + n) + sum;
  if (t.then == MatmulThen::kSiluMul) return silu_mul(load(t.other + m * t.y_stride + n), sum);
  if (t.then == MatmulThen::kGeluTanh) return gelu_tanh(sum);
  if (t.then == MatmulThen::kGeluErf) return gelu_erf(sum);
  return sum;
}

// Sums of `width` columns of row m, from `column` on, finished, to y; those past the tile are dropped.
inline void store_sums(const tessera::ops::MatmulTile& t, std::int64_t m, std::int64_t column,
                       const float* sums, std::int64_t width) {
  const std::int64_t columns = t.columns - column < width ? t.columns - column : width;
  float* y = t.y + m * t.y_stride + column;
  for (std::int64_t n = 0; n < columns; n += F32::kLanes) {
    const std::int64_t left = columns - n;
    const F32 sum = F32::load(sums + n);
    if (left >= F32::kLanes) {
      finished(t, sum, m, column + n, [](const float* p) { return F32::load(p); }).store(y + n);
    } else {
      finished(t, sum, m, column + n, [=](const float* p) {
        return F32::load_n(p, left);
      }).store_n(y + n, left);
    }
  }
}

}  // namespace
