// Layer normalisation on vectors of either width: two sums run side by side to hide the latency of the adds.
#pragma once

namespace {

inline float sum_of(const float* x, std::int64_t columns) {
  constexpr int kLanes = F32::kLanes;
  const std::int64_t whole = columns / kLanes * kLanes, rest = columns - whole;
  F32 sum[2] = {F32::zero(), F32::zero()};
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    F32& part = sum[i / kLanes & 1];
    part = part + F32::load(x + i);
  }
  if (rest) sum[0] = sum[0] + F32::load_n(x + whole, rest);
  return (sum[0] + sum[1]).sum();
}

inline float squares_around(const float* x, std::int64_t columns, float mean) {
  constexpr int kLanes = F32::kLanes;
  const std::int64_t whole = columns / kLanes * kLanes, rest = columns - whole;
  const F32 centre = F32::all(mean);
  F32 sum[2] = {F32::zero(), F32::zero()};
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    const F32 v = F32::load(x + i) - centre;
    F32& part = sum[i / kLanes & 1];
    part = F32::fma(v, v, part);
  }
  float last = 0;
  for (std::int64_t i = 0; i < rest; ++i) last += (x[whole + i] - mean) * (x[whole + i] - mean);
  return (sum[0] + sum[1]).sum() + last;
}

inline void layer_norm_rows(const tessera::ops::LayerNormRows& rows, std::int64_t count) {
  constexpr int kLanes = F32::kLanes;
  const std::int64_t columns = rows.columns, whole = columns / kLanes * kLanes, rest = columns - whole;
  const auto n = static_cast<float>(columns);
  for (std::int64_t r = 0; r < count; ++r) {
    const float* x = rows.x + r * rows.x_stride;
    float* y = rows.y + r * rows.y_stride;
    const float mean = sum_of(x, columns) / n;
    const float variance = squares_around(x, columns, mean) / n;
    const F32 centre = F32::all(mean), scale = F32::all(1.0f / __builtin_sqrtf(variance + rows.eps));
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      const F32 v = (F32::load(x + i) - centre) * scale;
      F32::fma(v, F32::load(rows.weight + i), F32::load(rows.bias + i)).store(y + i);
    }
    if (rest) {
      const F32 v = (F32::load_n(x + whole, rest) - centre) * scale;
      F32::fma(v, F32::load_n(rows.weight + whole, rest), F32::load_n(rows.bias + whole, rest))
          .store_n(y + whole, rest);
    }
  }
}

}  // namespace
