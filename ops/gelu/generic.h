// GELU on vectors of either width.
#pragma once

namespace {

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
