// GELU on vectors of either width.
#pragma once

namespace {

inline F32 gelu_erf(F32 x) {
  const F32 half = x * F32::all(0.5f);
  return F32::fma(half, erf(x * F32::all(0.707106781f)), half);
}

inline F32 gelu_tanh(F32 x) {
  // 2 sqrt(2 / pi) x (1 + 0.044715 x^2)
  const F32 twice_u = x * F32::fma(x * x, F32::all(0.0713548163f), F32::all(1.59576912f));
  return x * sigmoid(twice_u);
}

template <F32 (*gelu)(F32)>
inline void gelu_each(const float* x, float* y, std::int64_t n) {
  constexpr int kLanes = F32::kLanes;
  const std::int64_t whole = n / kLanes * kLanes, rest = n - whole;
  for (std::int64_t i = 0; i < whole; i += kLanes) gelu(F32::load(x + i)).store(y + i);
  if (rest) gelu(F32::load_n(x + whole, rest)).store_n(y + whole, rest);
}

inline void gelu_range(const tessera::ops::GeluRange& range) {
  range.erf ? gelu_each<gelu_erf>(range.x, range.y, range.n)
            : gelu_each<gelu_tanh>(range.x, range.y, range.n);
}

}  // namespace
