// What all block formats share.
//
// A block is a plain struct, little endian, without padding: the bytes of a file as they are. Each format's
// header declares up to three functions on it, all exact in IEEE arithmetic with denormals:
//
//   decode(block, x)       bytes to kElems floats; the products and their order are part of the format
//   encode(x, block)       the reference: the bytes that the ggml library writes (spec/qwen3-vl.md 9.4)
//   search(kernels, x, w, block)   the same bytes with scales searched for a small sum of
//                          w * (x - decoded)^2; usually better than encode, which formats.h makes sure of
//
// An encode that fits scales too takes kernels as well. Kernels are those of any level (quant/fit/kernels.h):
// the bytes are the same.
//
// x: kElems finite floats of magnitude up to kMaxMagnitude; w: kElems weights in 0 … 1, not all zero.
#pragma once

#include <bit>
#include <cstdint>

#include "tensor/dtype.h"

namespace tessera::quant {

static_assert(std::endian::native == std::endian::little, "blocks are read and written as they lie");

// No format with an f16 scale holds more than 65504 * 128 * 32 (Q6_K); up to here no sum of squares of an
// encoder leaves the floats.
inline constexpr float kMaxMagnitude = 0x1p40f;

// True where dtypes.inc gives this block's size.
template <typename Block>
constexpr bool agrees(DType dtype) {
  switch (dtype) {
#define TESSERA_DTYPE(id, name, block_elems, block_bytes) \
  case DType::id:                                         \
    return Block::kElems == (block_elems) && sizeof(Block) == (block_bytes);
#include "tensor/dtypes.inc"
#undef TESSERA_DTYPE
  }
  return false;
}

// The nearest integer, ties to even, of |v| below 2^22: past 1.5 * 2^23 floats have no fraction.
inline float round_even(float v) { return (v + 12582912.0f) - 12582912.0f; }

inline float clamp(float v, float low, float high) {
  v = v < low ? low : v;
  return v < high ? v : high;
}

// The nearest integer in low … high, of any number.
inline int nearest(float v, int low, int high) {
  return static_cast<int>(round_even(clamp(v, static_cast<float>(low), static_cast<float>(high))));
}

// 1 / d, or 0 where that is no float. Such a scale is 0 in f16, so that the codes do not matter.
inline float inverse(float d) {
  const float i = 1.0f / d;
  return i - i == 0 ? i : 0.0f;
}

}  // namespace tessera::quant
