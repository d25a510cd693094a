// Codes and scales of panels of block formats, on vectors of either width.
#pragma once

#include "ops/matmul/generic_sums.h"

namespace {

using tessera::ops::ActivationGroup;
using tessera::ops::BlockFormat;
using tessera::ops::SubScales;

// Columns are taken in strips, one vector of F32 each.
constexpr int kStripsOfPanel = tessera::ops::kPanelColumns / F32::kLanes;
constexpr int kStripBytes = 4 * F32::kLanes;  // of a vector of codes

template <BlockFormat kFormat>
using DotsOf = Dots<(1 << (kFormat.low_bits + kFormat.high_bits)) - 1>;

// Bits of code vector kIndex from a plane of kBits bits, moved up to bit kTo of their bytes.
template <int kBits, int kIndex, int kTo>
Quads field(const std::uint8_t* plane) {
  const Quads word = Quads::load(plane + kIndex % kBits * 64);
  if constexpr (kBits == 8) return word;
  constexpr int kAt = kIndex / kBits * kBits;
  return word.shifted_right<kAt - kTo>() & Quads::all_bytes(((1 << kBits) - 1) << kTo);
}

template <BlockFormat kFormat, int kIndex>
Quads code(const std::uint8_t* group) {
  const Quads low = field<kFormat.low_bits, kIndex, 0>(group);
  if constexpr (kFormat.high_bits > 0) {
    return low | field<kFormat.high_bits, kIndex, kFormat.low_bits>(group + 64 * kFormat.low_bits);
  }
  return low;
}

// What the integer sums of a block are multiplied with, for one strip.
template <BlockFormat kFormat>
struct BlockScales {
  static constexpr int kParts = kFormat.sub_scales == SubScales::kInt8 ? 2 : 1;  // sums of a group
  F32 scale[kFormat.groups() * kParts];
  F32 min[kFormat.has_min ? kFormat.groups() : 1];

  void load(const std::uint8_t* block, int strip) {
    const F32 d = load_f16(block, strip);
    if constexpr (kFormat.sub_scales == SubScales::kOne) {
      scale[0] = d;
      if constexpr (kFormat.has_min) min[0] = load_f16(block + kFormat.panel_m(), strip);
    } else if constexpr (kFormat.sub_scales == SubScales::kInt8) {
      const std::uint8_t* scales = block + kFormat.panel_scales() + strip * F32::kLanes;
      for (int i = 0; i < kFormat.scale_bytes(); ++i) {
        scale[i] = d * I32::load_i8(scales + i * tessera::ops::kPanelColumns).to_f32();
      }
    } else {
      load_six_bits(block + kFormat.panel_scales() + strip * kStripBytes, d,
                    F32::zero() - load_f16(block + kFormat.panel_m(), strip));
    }
  }

 private:
  static F32 load_f16(const std::uint8_t* numbers, int strip) {
    return F32::load_f16(reinterpret_cast<const std::uint16_t*>(numbers) + strip * F32::kLanes);
  }
  void load_six_bits(const std::uint8_t* scales, F32 d, F32 minus_dmin) {
    const Quads a = Quads::load(scales), b = Quads::load(scales + 64), c = Quads::load(scales + 128);
    const Quads six = Quads::all_bytes(63), four = Quads::all_bytes(15), upper = Quads::all_bytes(48);
    spread<0>(a & six, d, scale);
    spread<0>((c & four) | (a.shifted_right<2>() & upper), d, scale + 4);
    spread<0>(b & six, minus_dmin, min);
    spread<0>((c.shifted_right<4>() & four) | (b.shifted_right<2>() & upper), minus_dmin, min + 4);
  }
  template <int kIndex>
  static void spread(Quads bytes, F32 unit, F32* to) {
    to[kIndex] = unit * I32::byte<kIndex>(bytes).to_f32();
    if constexpr (kIndex < 3) spread<kIndex + 1>(bytes, unit, to);
  }
};

}  // namespace
