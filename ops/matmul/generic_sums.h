// Finished sums of a tile to its outputs, on vectors of either width.
#pragma once

namespace {

// Sums of `width` columns of row m, from `column` on, to y with the bias; those past the tile are dropped.
inline void store_sums(const tessera::ops::MatmulTile& t, std::int64_t m, std::int64_t column,
                       const float* sums, std::int64_t width) {
  const std::int64_t columns = t.columns - column < width ? t.columns - column : width;
  float* y = t.y + m * t.y_stride + column;
  for (std::int64_t n = 0; n < columns; n += F32::kLanes) {
    const std::int64_t left = columns - n;
    F32 v = F32::load(sums + n);
    if (left >= F32::kLanes) {
      if (t.bias) v = v + F32::load(t.bias + column + n);
      v.store(y + n);
    } else {
      if (t.bias) v = v + F32::load_n(t.bias + column + n, left);
      v.store_n(y + n, left);
    }
  }
}

}  // namespace
