// Rotation on vectors of either width: cos and sin of a block of frequencies are taken apart once and serve
// all heads, which are then read and written in the order in which they lie.
#pragma once

namespace {

inline void rotate(const float* x, float* y, std::int64_t half, F32 cos, F32 sin) {
  const F32 a = F32::load(x), b = F32::load(x + half);
  F32::fma(a, cos, F32::zero() - b * sin).store(y);
  F32::fma(b, cos, a * sin).store(y + half);
}

inline void rotate_n(const float* x, float* y, std::int64_t half, F32 cos, F32 sin, std::int64_t n) {
  const F32 a = F32::load_n(x, n), b = F32::load_n(x + half, n);
  F32::fma(a, cos, F32::zero() - b * sin).store_n(y, n);
  F32::fma(b, cos, a * sin).store_n(y + half, n);
}

inline void rope_token(const tessera::ops::RopeToken& token) {
  constexpr std::int64_t kLanes = F32::kLanes, kBlock = 128;
  for (std::int64_t first = 0; first < token.half; first += kBlock) {
    const std::int64_t n = token.half - first < kBlock ? token.half - first : kBlock;
    const std::int64_t whole = n / kLanes * kLanes;
    float cos[kBlock], sin[kBlock];
    for (std::int64_t i = 0; i < n; ++i) {
      cos[i] = token.table[2 * (first + i)];
      sin[i] = token.table[2 * (first + i) + 1];
    }
    for (std::int64_t h = 0; h < token.heads; ++h) {
      const float* x = token.x + h * token.x_stride + first;
      float* y = token.y + h * token.y_stride + first;
      for (std::int64_t i = 0; i < whole; i += kLanes) {
        rotate(x + i, y + i, token.half, F32::load(cos + i), F32::load(sin + i));
      }
      if (whole == n) continue;
      rotate_n(x + whole, y + whole, token.half, F32::load_n(cos + whole, n - whole),
               F32::load_n(sin + whole, n - whole), n - whole);
    }
  }
}

}  // namespace
