// SiLU times a value on vectors of either width.
#pragma once

namespace {

inline void silu_mul_range(const tessera::ops::SiluMulRange& range) {
  constexpr int kLanes = F32::kLanes;
  const std::int64_t whole = range.n / kLanes * kLanes, rest = range.n - whole;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    silu_mul(F32::load(range.gate + i), F32::load(range.up + i)).store(range.y + i);
  }
  if (rest) {
    silu_mul(F32::load_n(range.gate + whole, rest), F32::load_n(range.up + whole, rest))
        .store_n(range.y + whole, rest);
  }
}

}  // namespace
