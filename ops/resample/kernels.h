// Weighted sums of 8-bit samples in fixed point, as antialiased resizing makes them.
//
//   y = clamp((2^21 + sum_k weights[k] x_k) >> 22, 0, 255)
//
// Sums are of 32 bits: 255 times the sum of |weights| stays below 2^31 - 2^21. Integers, so all levels give
// the same bytes. Any alignment; nothing outside what is named is read or written.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::ops {

inline constexpr int kResampleFractionBits = 22;  // 32 - 8 of a sample - 2 that a negative lobe may overshoot
inline constexpr std::int64_t kResampleChannels = 3;

// One row from `taps` rows, `pitch` bytes apart: y[i] from x[k * pitch + i], i < n.
struct ResampleAcrossRows {
  const std::uint8_t* x;
  std::int64_t pitch;
  std::int64_t n;
  const std::int32_t* weights;
  std::int64_t taps;
  std::uint8_t* y;
};

// One row of pixels from one: pixel o < n from pixels first[o] .. first[o] + taps - 1 with
// weights[o * taps ..]; x has `pixels` of them.
struct ResampleAlongRow {
  const std::uint8_t* x;
  std::int64_t pixels;
  std::int64_t n;
  const std::int32_t* first;
  const std::int32_t* weights;
  std::int64_t taps;
  std::uint8_t* y;
};

#define TESSERA_KERNEL(level, function, arguments) void function(const arguments& row) noexcept;
#include "ops/resample/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
