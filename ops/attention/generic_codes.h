// Scores of one position over q8_0 keys by byte dot products.
//
// A query is rounded once: q[i] ~ step * (128 high[i] + low[i]), step = max |q| / 16319, high in -127 .. 127,
// low in -64 .. 64. Sums of four products are exact integers, also as f32; the rest is f32.
#pragma once

#include "ops/attention/generic_decode.h"

namespace {

// A query of up to 256 dims: for each 64 of them 64 high parts, 64 low ones, and for each quad what takes the
// offset of the codes off.
constexpr std::int64_t kPartElements = 64, kPartDwords = 48;
constexpr std::int64_t kQueryDwords = tessera::ops::kAttentionMaxDim / kPartElements * kPartDwords;

inline float round_query(const float* q, std::int64_t dim, float* parts) {
  constexpr float kLargest = 127 * 128 + 63;
  F32 top = F32::zero(), nothing = F32::zero();
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    const F32 x = F32::load(q + i);
    top = F32::max(F32::abs(x), top);
    nothing = F32::fma(x, F32::zero(), nothing);  // NaN if x is not finite
  }
  const float largest = top.largest();
  const F32 factor = F32::all(largest > 0 ? kLargest / largest : 0.0f);
  for (std::int64_t i = 0; i < dim; i += kPartElements, parts += kPartDwords) {
    auto* bytes = reinterpret_cast<std::int8_t*>(parts);
    for (std::int64_t j = 0; j < kPartElements; j += kLanes) {
      const F32 x = i + j < dim ? F32::round(F32::load(q + i + j) * factor) : F32::zero();
      const F32 high = F32::round(x * F32::all(1.0f / 128));
      store_i8(high, bytes + j);
      store_i8(F32::fma(high, F32::all(-128.0f), x), bytes + kPartElements + j);
    }
    const Quads ones = Quads::all_bytes(1);
    const I32 high = add_dots(I32::all(0), ones, Quads::load(reinterpret_cast<std::uint8_t*>(bytes)));
    const I32 low =
        add_dots(I32::all(0), ones, Quads::load(reinterpret_cast<std::uint8_t*>(bytes) + kPartElements));
    store_i32(I32::all(0) - shifted_left<7>(high) - low, parts + 2 * kLanes);
  }
  return largest / kLargest + nothing.sum();
}

// The codes' scales times the products of 64 codes with a query's part, by lane.
inline F32 add_part(const Codes& codes, const float* part, F32 sum) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(part);
  I32 dots = add_dots(load_i32(part + 2 * kLanes), codes.quads, Quads::load(bytes));
  dots = add_dots(shifted_left<7>(dots), codes.quads, Quads::load(bytes + kPartElements));
  return F32::fma(dots.to_f32(), codes.scales, sum);
}

// As score_keys, with queries that round_query has made and without their steps.
template <int kHeads>
inline void score_codes(const DecodeBlock& block, const DecodeSpace& w, std::int64_t first) {
  constexpr int kTileKeys = kLanes / kHeads;
  prefetch_rows(block.k + (first + w.ahead) * block.k_stride, kTileKeys, block.k_stride, w.row_bytes);
  const std::byte* rows[kTileKeys];
#pragma GCC unroll 16
  for (int j = 0; j < kTileKeys; ++j) rows[j] = block.k + smaller(first + j, block.keys - 1) * block.k_stride;
  F32 sum[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) sum[i] = F32::zero();
  const float* q = w.parts;
  for (std::int64_t i = 0; i < block.dim; i += kPartElements, q += kPartDwords) {
    const bool two = block.dim - i > Codes::kBlockElements;
#pragma GCC unroll 16
    for (int j = 0; j < kTileKeys; ++j) {
      const Codes codes = two ? Codes::load_two(rows[j]) : Codes::load_one(rows[j]);
      rows[j] += 2 * Codes::kBlockBytes;
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        sum[h * kTileKeys + j] = add_part(codes, q + h * kQueryDwords, sum[h * kTileKeys + j]);
      }
    }
  }
  float all[kLanes];
  F32::sums(sum).store(all);
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    __builtin_memcpy(w.scores + h * kDecodeKeys + first, all + h * kTileKeys, kTileKeys * sizeof(float));
  }
}

// The way of decoding that multiplies codes of keys and widens values.
struct KeyCodes : Widening<RowQ8_0> {
  template <int kHeads>
  static void begin(const DecodeBlock& block, DecodeSpace& w) {
    for (int h = 0; h < kHeads; ++h) {
      w.step[h] = round_query(w.q + h * w.width, block.dim, w.parts + h * kQueryDwords);
    }
  }
  template <int kHeads>
  static void score(const DecodeBlock& block, const DecodeSpace& w, std::int64_t first) {
    score_codes<kHeads>(block, w, first);
  }
};

}  // namespace
