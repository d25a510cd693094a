// One position over q8_0 keys and values by dot products of integers, which are exact.
//
// A query is rounded once: q[i] ~ step * (128 high[i] + low[i]), step = max |q| / 16319, high in -127 .. 127,
// low in -64 .. 64. Sums of four products are integers, also as f32; the rest is f32.
//
// Weights of a head times the scales of the values' blocks are rounded to words, for each 32 dims with a step
// of 1 / 32767 of the largest over the keys of the block: 256 products with codes fit 31 bits.
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

constexpr std::int64_t kMostBlocks = tessera::ops::kAttentionMaxDim / Codes::kBlockElements;
// Keys whose values are gone through at a time: 8.5 KiB where dim is 128.
constexpr std::int64_t kCodeStripKeys = 64;

// Weights as words [blocks][heads][kDecodeKeys], zero beyond the keys up to a whole vector, and their steps:
// NaN where a scale is not finite.
struct WordWeights {
  std::int16_t* words;
  float step[kMostBlocks][4];

  const std::int16_t* head(std::int64_t b, int h) const { return words + (b * 4 + h) * kDecodeKeys; }
};

template <int kHeads>
inline WordWeights round_weights(const DecodeBlock& block, const DecodeSpace& w) {
  const std::int64_t blocks = block.dim / Codes::kBlockElements;
  std::uint16_t scales[kMostBlocks][kDecodeKeys];
  for (std::int64_t s = 0; s < block.keys; ++s) {
    const std::byte* scale = block.v + s * block.v_stride;
    for (std::int64_t b = 0; b < blocks; ++b) {
      __builtin_memcpy(&scales[b][s], scale + b * Codes::kBlockBytes, 2);
    }
  }
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t s = block.keys; s % kLanes != 0; ++s) scales[b][s] = 0;
  }
  WordWeights out;
  out.words = reinterpret_cast<std::int16_t*>(w.parts);
  for (std::int64_t b = 0; b < blocks; ++b) {
    F32 nothing = F32::zero(), top[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) top[h] = F32::zero();
    for (std::int64_t s = 0; s < block.keys; s += kLanes) {
      const F32 scale = F32::load_f16(scales[b] + s);
      nothing = F32::fma(scale, F32::zero(), nothing);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        top[h] = F32::max(F32::abs(F32::load(w.scores + h * kDecodeKeys + s) * scale), top[h]);
      }
    }
    const float bad = nothing.sum();
    F32 factor[kHeads];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const float largest = top[h].largest();
      // The inverse of a smaller one would not be finite.
      factor[h] = F32::all(largest > 1e-33f ? 32767 / largest : 0.0f);
      out.step[b][h] = largest / 32767 + bad;
    }
    for (std::int64_t s = 0; s < block.keys; s += kLanes) {
      const F32 scale = F32::load_f16(scales[b] + s);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        store_i16(F32::load(w.scores + h * kDecodeKeys + s) * scale * factor[h],
                  out.words + (b * 4 + h) * kDecodeKeys + s);
      }
    }
  }
  return out;
}

// Adds words times codes of keys [first, last) to y, integers there, for kBlocks blocks from b on.
template <int kHeads, int kBlocks>
inline void add_codes(const DecodeBlock& block, const WordWeights& weights, float* y, std::int64_t first,
                      std::int64_t last, std::int64_t b) {
  I32 sum[kBlocks][kHeads][2];
  float* to = y + b * Codes::kBlockElements;
#pragma GCC unroll 4
  for (int i = 0; i < kBlocks * kHeads * 2; ++i) {
    sum[i / (kHeads * 2)][i / 2 % kHeads][i % 2] =
        load_i32(to + i / 2 % kHeads * block.partial_stride + (i / (kHeads * 2) * 2 + i % 2) * kLanes);
  }
  const std::byte* codes = block.v + b * Codes::kBlockBytes;
  for (std::int64_t s = first; s < last; s += 2) {
    const std::byte* even = codes + s * block.v_stride;
    const std::byte* odd = codes + smaller(s + 1, block.keys - 1) * block.v_stride;
#pragma GCC unroll 2
    for (int j = 0; j < kBlocks; ++j) {
      Words low, high;
      Words::load(even + j * Codes::kBlockBytes, odd + j * Codes::kBlockBytes, low, high);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Words weight = Words::all(weights.head(b + j, h) + s);
        sum[j][h][0] = add_dots(sum[j][h][0], low, weight);
        sum[j][h][1] = add_dots(sum[j][h][1], high, weight);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kBlocks * kHeads * 2; ++i) {
    store_i32(sum[i / (kHeads * 2)][i / 2 % kHeads][i % 2],
              to + i / 2 % kHeads * block.partial_stride + (i / (kHeads * 2) * 2 + i % 2) * kLanes);
  }
}

// The way of decoding that multiplies codes.
struct CodeProducts {
  static std::int64_t row_bytes(std::int64_t dim) { return RowQ8_0::bytes(dim); }
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
  template <int kHeads>
  static void add(const DecodeBlock& block, const DecodeSpace& w, float* y) {
    const WordWeights weights = round_weights<kHeads>(block, w);
    const std::int64_t blocks = block.dim / Codes::kBlockElements;
    for (std::int64_t s = 0; s < block.keys; s += kCodeStripKeys) {
      const std::int64_t last = smaller(s + kCodeStripKeys, block.keys);
      prefetch_rows(block.v + last * block.v_stride, kCodeStripKeys, block.v_stride, w.row_bytes);
      std::int64_t b = 0;
      for (; b + 2 <= blocks; b += 2) add_codes<kHeads, 2>(block, weights, y, s, last, b);
      for (; b < blocks; ++b) add_codes<kHeads, 1>(block, weights, y, s, last, b);
    }
    for (int h = 0; h < kHeads; ++h) {
      for (std::int64_t b = 0; b < blocks; ++b) {
        float* to = y + h * block.partial_stride + b * Codes::kBlockElements;
        const F32 step = F32::all(weights.step[b][h]);
        F32 low = load_i32(to).to_f32() * step, high = load_i32(to + kLanes).to_f32() * step;
        Words::order(low, high);
        low.store(to);
        high.store(to + kLanes);
      }
    }
  }
};

}  // namespace
