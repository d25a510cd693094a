// Rotation on vectors of either width: the angles of one vector are taken apart once for all heads.
#pragma once

namespace {

inline void rope_token(const tessera::ops::RopeToken& token) {
  constexpr int kLanes = F32::kLanes;
  const std::int64_t half = token.half, whole = half / kLanes * kLanes, rest = half - whole;
  F32 cos, sin;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    F32::load_pairs(token.table + 2 * i, &cos, &sin);
    for (std::int64_t h = 0; h < token.heads; ++h) {
      const float* x = token.x + h * token.x_stride + i;
      float* y = token.y + h * token.y_stride + i;
      const F32 a = F32::load(x), b = F32::load(x + half);
      F32::fma(a, cos, F32::zero() - b * sin).store(y);
      F32::fma(b, cos, a * sin).store(y + half);
    }
  }
  if (!rest) return;
  float pairs[2 * kLanes] = {};
  for (std::int64_t i = 0; i < 2 * rest; ++i) pairs[i] = token.table[2 * whole + i];
  F32::load_pairs(pairs, &cos, &sin);
  for (std::int64_t h = 0; h < token.heads; ++h) {
    const float* x = token.x + h * token.x_stride + whole;
    float* y = token.y + h * token.y_stride + whole;
    const F32 a = F32::load_n(x, rest), b = F32::load_n(x + half, rest);
    F32::fma(a, cos, F32::zero() - b * sin).store_n(y, rest);
    F32::fma(b, cos, a * sin).store_n(y + half, rest);
  }
}

}  // namespace
