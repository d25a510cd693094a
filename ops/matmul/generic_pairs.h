// Inputs and weights as pairs of bf16, for dot products and for tiles.
#pragma once

namespace {

// 32 inputs of a row from x on, zeros past the `left` that there are.
inline Pairs round_inputs(const float* x, std::int64_t left) {
  const auto load = [&](std::int64_t i) {
    if (left - i >= F32::kLanes) return F32::load(x + i);
    return left > i ? F32::load_n(x + i, left - i) : F32::zero();
  };
  return Pairs::rounded(load(0), load(F32::kLanes));
}

// The weights of two k of a panel of f16, zeros past the `left` k that there are.
inline Pairs round_f16_weights(const std::uint16_t* w, std::int64_t left) {
  const auto load = [&](std::int64_t k) {
    return left > k ? F32::load_f16(w + k * tessera::ops::kPanelColumns) : F32::zero();
  };
  return Pairs::interleaved(load(0), load(1));
}

}  // namespace
