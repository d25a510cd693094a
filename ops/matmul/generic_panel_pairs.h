// Products over panels of bf16 with dot products of pairs, inputs rounded to bf16; over panels of f16 with
// these rounded as well, which takes nothing from weights that were bf16 once.
#pragma once

#include "ops/matmul/generic_pairs.h"
#include "ops/matmul/generic_panels.h"

namespace {

struct PairPanels {
  static constexpr bool kConverts = false;
  static constexpr int kStep = 2, kWords = 1;
  static void get(const std::uint16_t* w, F32 (&out)[kWords][kPanelVectors]) {
    for (int v = 0; v < kPanelVectors; ++v) out[0][v] = Pairs::load(w + v * 2 * F32::kLanes).bits();
  }
  static F32 add(F32 input, F32 weight, F32 sum) {
    return Pairs::dot(Pairs::of_bits(input), Pairs::of_bits(weight), sum);
  }
  static void copy(const float* from, std::int64_t n, std::int64_t padded, float* to) {
    for (std::int64_t i = 0; i < padded; i += 2 * F32::kLanes, to += F32::kLanes) {
      round_inputs(from + i, n - i).bits().store(to);
    }
  }
};

struct F16AsPairPanels : PairPanels {
  static constexpr bool kConverts = true;
  static void convert(const std::uint16_t* w, std::int64_t inputs, std::uint16_t* to) {
    using tessera::ops::kPanelColumns;
    for (std::int64_t k = 0; k < inputs; k += 2, w += 2 * kPanelColumns, to += 2 * kPanelColumns) {
      round_f16_weights(w, inputs - k).store(reinterpret_cast<std::uint8_t*>(to));
    }
  }
};

}  // namespace
