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

// Adds the products of a part of each query with the codes of all keys of a tile, kAtOnce at a time.
template <int kHeads, bool kTwo>
inline void add_parts(const float* parts, const std::byte* const* rows, F32* sum) {
  constexpr int kTileKeys = kLanes / kHeads, kAtOnce = kTileKeys < 4 ? kTileKeys : 4;
#pragma GCC unroll 4
  for (int first = 0; first < kTileKeys; first += kAtOnce) {
    Codes codes[kAtOnce];
#pragma GCC unroll 4
    for (int j = 0; j < kAtOnce; ++j) {
      codes[j] = kTwo ? Codes::load_two(rows[first + j]) : Codes::load_one(rows[first + j]);
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const float* part = parts + h * kQueryDwords;
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(part);
      const Quads high = Quads::load(bytes), low = Quads::load(bytes + kPartElements);
      const I32 start = load_i32(part + 2 * kLanes);
#pragma GCC unroll 4
      for (int j = 0; j < kAtOnce; ++j) {
        I32 dots = add_dots(start, codes[j].quads, high);
        dots = add_dots(shifted_left<7>(dots), codes[j].quads, low);
        F32& to = sum[h * kTileKeys + first + j];
        to = F32::fma(dots.to_f32(), codes[j].scales, to);
      }
    }
  }
}

// As score_keys, with queries that round_query has made and without their steps.
template <int kHeads>
inline void score_codes(const DecodeBlock& block, const DecodeSpace& w, std::int64_t first) {
  constexpr int kTileKeys = kLanes / kHeads;
  prefetch_rows(block.k + (first + w.ahead) * block.k_stride, kTileKeys, block.k_stride, w.row_bytes);
  const std::byte* rows[kTileKeys];
#pragma GCC unroll 16
  for (int j = 0; j < kTileKeys; ++j) {
    rows[j] = block.k + smaller(first + j, block.keys - 1) * block.k_stride;
  }
  F32 sum[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) sum[i] = F32::zero();
  const float* parts = w.parts;
  std::int64_t rest = block.dim;
  for (; rest > Codes::kBlockElements; rest -= kPartElements, parts += kPartDwords) {
    add_parts<kHeads, true>(parts, rows, sum);
#pragma GCC unroll 16
    for (int j = 0; j < kTileKeys; ++j) rows[j] += 2 * Codes::kBlockBytes;
  }
  if (rest > 0) add_parts<kHeads, false>(parts, rows, sum);
  store_scores<kHeads>(F32::sums(sum), w.scores + first);
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
