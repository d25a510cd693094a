// One position over bf16 keys and values on dot products of pairs: queries, scaled to base 2, and weights are
// rounded to bf16, products are summed in f32, as are the rounded weights. Pairs are of dims for scores, of
// keys for values.
#pragma once

#include "ops/attention/generic_decode.h"
#include "ops/attention/generic_pairs.h"

namespace {

// Queries lie in DecodeSpace::parts.
struct PairUnits {
  using Operand = Pairs;
  static constexpr std::int64_t kKeys = 2, kDims = 2 * kLanes;
  static constexpr std::int64_t kQueryPairs = tessera::ops::kAttentionMaxDim / 2;

  static std::int64_t row_bytes(std::int64_t dim) { return RowBf16::bytes(dim); }
  static void begin(const DecodeSpace& w, int h) {
    const RowF32 q{reinterpret_cast<const std::byte*>(w.q + h * w.width)};
    for (std::int64_t i = 0; i < w.width; i += kDims) {
      load_pairs(q, i, w.width).bits().store(w.parts + h * kQueryPairs + i / 2);
    }
  }
  static Pairs query(const DecodeSpace& w, int h, std::int64_t i) {
    return Pairs::of_bits(F32::load(w.parts + h * kQueryPairs + i / 2));
  }
  static Pairs key(const std::byte* row, std::int64_t i, std::int64_t dim) {
    return load_pairs(RowBf16{row}, i, dim);
  }
  static F32 keep_weights(F32 low, F32 high, float* weights, std::int64_t i, F32 sum) {
    const Pairs pairs = Pairs::rounded(exp2(low), exp2(high));
    pairs.bits().store(weights + i / 2);
    return Pairs::dot(pairs, Pairs::rounded(F32::all(1.0f), F32::all(1.0f)), sum);
  }
  static Pairs weight(const float* weights, std::int64_t s) {
    return Pairs::of_bits(F32::all(weights[s / 2]));
  }
  // Beside the last of an odd number of keys stands zero.
  static Pairs value(const DecodeBlock& block, std::int64_t s, std::int64_t i) {
    const RowBf16 row{block.v + s * block.v_stride};
    if (s + 1 == block.keys) return Pairs::interleaved(row.load(i, block.dim - i), F32::zero());
    return load_both(row, RowBf16{row.row + block.v_stride}, i, block.dim);
  }
  static F32 add(Pairs a, Pairs b, F32 sum) { return Pairs::dot(a, b, sum); }
};

}  // namespace
