// RMS normalisation on vectors of either width: two sums run side by side to hide the latency of the FMA.
#pragma once

namespace {

inline void rms_norm_rows(const tessera::ops::RmsNormRows& rows, std::int64_t count) {
  constexpr int kLanes = F32::kLanes;
  const std::int64_t columns = rows.columns, whole = columns / kLanes * kLanes, rest = columns - whole;
  for (std::int64_t r = 0; r < count; ++r) {
    const float* x = rows.x + r * rows.x_stride;
    float* y = rows.y + r * rows.y_stride;
    F32 sum[2] = {F32::zero(), F32::zero()};
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      const F32 v = F32::load(x + i);
      F32& part = sum[i / kLanes & 1];
      part = F32::fma(v, v, part);
    }
    if (rest) {
      const F32 v = F32::load_n(x + whole, rest);
      sum[0] = F32::fma(v, v, sum[0]);
    }
    const float mean = (sum[0] + sum[1]).sum() / static_cast<float>(columns);
    const F32 scale = F32::all(1.0f / __builtin_sqrtf(mean + rows.eps));
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      (F32::load(x + i) * scale * F32::load(rows.weight + i)).store(y + i);
    }
    if (rest) {
      (F32::load_n(x + whole, rest) * scale * F32::load_n(rows.weight + whole, rest))
          .store_n(y + whole, rest);
    }
  }
}

}  // namespace
