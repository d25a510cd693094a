// One sample at a time: the scalar reference, and what vector kernels leave at the ends. The anonymous
// namespace keeps each file's copy its own.
#pragma once

#include "ops/resample/kernels.h"

namespace tessera::ops {
namespace {

inline constexpr std::int32_t kResampleHalf = 1 << (kResampleFractionBits - 1);

inline std::uint8_t to_sample(std::int32_t sum) {
  const std::int32_t value = sum >> kResampleFractionBits;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

inline void samples_across_rows(const ResampleAcrossRows& row) {
  for (std::int64_t i = 0; i < row.n; ++i) {
    std::int32_t sum = kResampleHalf;
    for (std::int64_t k = 0; k < row.taps; ++k) sum += row.weights[k] * row.x[k * row.pitch + i];
    row.y[i] = to_sample(sum);
  }
}

inline void pixels_along_row(const ResampleAlongRow& row, std::int64_t begin, std::int64_t end) {
  for (std::int64_t o = begin; o < end; ++o) {
    const std::uint8_t* x = row.x + row.first[o] * kResampleChannels;
    for (std::int64_t c = 0; c < kResampleChannels; ++c) {
      std::int32_t sum = kResampleHalf;
      for (std::int64_t k = 0; k < row.taps; ++k)
        sum += row.weights[o * row.taps + k] * x[k * kResampleChannels + c];
      row.y[o * kResampleChannels + c] = to_sample(sum);
    }
  }
}

}  // namespace
}  // namespace tessera::ops
