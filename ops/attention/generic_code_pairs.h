// Values of one position in q8_0 by dot products of pairs of bf16: codes are exact, weights times the scales
// of blocks are rounded.
#pragma once

#include "ops/attention/generic_codes.h"

namespace {

constexpr std::int64_t kBlockVectors = Codes::kBlockElements / kLanes;
static_assert(kStripKeys == kLanes);

// Weights of each head times the scales of each block of the values of keys [first, last): bf16
// [blocks][heads] [kStripKeys], zero for the other keys.
template <int kHeads>
inline void weigh_codes(const DecodeBlock& block, const DecodeSpace& w, std::int64_t first,
                        std::int64_t last) {
  constexpr std::int64_t kMostBlocks = tessera::ops::kAttentionMaxDim / Codes::kBlockElements;
  const std::int64_t blocks = block.dim / Codes::kBlockElements;
  std::uint16_t scales[kMostBlocks][kStripKeys] = {};
  for (std::int64_t s = first; s < last; ++s) {
    const std::byte* scale = block.v + s * block.v_stride;
    for (std::int64_t b = 0; b < blocks; ++b, scale += Codes::kBlockBytes) {
      __builtin_memcpy(&scales[b][s - first], scale, 2);
    }
  }
  auto* weights = reinterpret_cast<std::uint16_t*>(w.parts);
  for (std::int64_t b = 0; b < blocks; ++b, weights += kHeads * kStripKeys) {
    const F32 scale = F32::load_f16(scales[b]);
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      store_bf16(F32::load(w.scores + h * kDecodeKeys + first) * scale, weights + h * kStripKeys);
    }
  }
}

template <int kHeads>
inline void add_codes(const DecodeBlock& block, const DecodeSpace& w, float* y, std::int64_t first,
                      std::int64_t last) {
  prefetch_rows(block.v + last * block.v_stride, kStripKeys, block.v_stride, w.row_bytes);
  weigh_codes<kHeads>(block, w, first, last);
  const auto* weights = reinterpret_cast<const std::uint16_t*>(w.parts);
  for (std::int64_t b = 0; b < block.dim / Codes::kBlockElements; ++b, weights += kHeads * kStripKeys) {
    float* to = y + b * Codes::kBlockElements;
    F32 sum[kHeads][kBlockVectors];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
      for (int j = 0; j < kBlockVectors; ++j)
        sum[h][j] = F32::load(to + h * block.partial_stride + j * kLanes);
    }
    const std::byte* codes = block.v + b * Codes::kBlockBytes + 2;
    for (std::int64_t s = first; s < last; s += 2) {
      const auto* even = reinterpret_cast<const std::int8_t*>(codes + s * block.v_stride);
      const auto* odd =
          reinterpret_cast<const std::int8_t*>(codes + smaller(s + 1, last - 1) * block.v_stride);
      Pairs value[kBlockVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kBlockVectors; ++j) {
        value[j] = Pairs::exact(F32::load_i8(even + j * kLanes), F32::load_i8(odd + j * kLanes));
      }
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Pairs weight = Pairs::all(weights + h * kStripKeys + s - first);
#pragma GCC unroll 2
        for (int j = 0; j < kBlockVectors; ++j) sum[h][j] = Pairs::dot(weight, value[j], sum[h][j]);
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 2
      for (int j = 0; j < kBlockVectors; ++j) sum[h][j].store(to + h * block.partial_stride + j * kLanes);
    }
  }
}

// The way of decoding that multiplies codes of keys and of values.
struct AllCodes : KeyCodes {
  template <int kHeads>
  static void add(const DecodeBlock& block, const DecodeSpace& w, float* y, std::int64_t first,
                  std::int64_t last) {
    add_codes<kHeads>(block, w, y, first, last);
  }
};

}  // namespace
