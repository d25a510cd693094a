// The block formats as numbers: what packing and kernels need to know of each. The blocks themselves are
// drawn in quant/FORMAT.h, the panels in ops/matmul/pack.h.
//
// A code of n bits lies in planes: its lower bits in one, the rest in another. Both in a file and in a panel
// a plane is words, and each word holds the bits of several quads (the codes of four k that follow one
// another): with `run` words in a run, b bits a code and s = 8 / b quads to a word, quad t has
//
//   word   t / (run * s) * run + t % run        bits b * (t / run % s) and up of each of its four bytes
//
// In a panel a run is b words and a group of 32 takes exactly one.
#pragma once

#include <cstdint>

namespace tessera::ops {

// How the parts of a block are scaled; q is the code less the offset, m the second number where there is one.
enum class SubScales {
  kOne,      // x = d q + m
  kSixBits,  // x = d scale q - m min, a scale and a min of six bits for each 32 (quant/k_min.h)
  kInt8,     // x = d scale q, a scale of eight bits for each 16
};

struct BlockFormat {
  int elems = 32;     // of a block
  int bytes = 0;      // of a block
  int low_bits = 4;   // of a code in the first plane
  int high_bits = 0;  // in the second one, 0 where there is none
  int offset = 0;     // the code that stands for 0
  bool has_min = false;
  SubScales sub_scales = SubScales::kOne;

  // Where a file's block has its numbers, in bytes; runs in words.
  int d_at = 0, m_at = 0, scales_at = 0, low_at = 0, high_at = 0;
  int low_run = 4;
  int high_run = 0;  // 0: not as above, element k has bit k % 8 of byte k / 8
  int flip = 0;      // exclusive-or from a byte of the file to the code

  constexpr int groups() const { return elems / 32; }
  constexpr int scale_bytes() const {
    return sub_scales == SubScales::kSixBits ? 12 : sub_scales == SubScales::kInt8 ? 16 : 0;
  }

  // Where a block of a panel has its columns, in bytes.
  constexpr int panel_bytes() const { return 16 * bytes; }
  constexpr int panel_m() const { return 32; }
  constexpr int panel_scales() const { return has_min ? 64 : 32; }
  constexpr int panel_codes() const { return panel_scales() + 16 * scale_bytes(); }
  constexpr int group_bytes() const { return 64 * (low_bits + high_bits); }
  // Byte i of a column's scales: dwords of six-bit numbers, single bytes otherwise.
  constexpr int panel_scale(int column, int i) const {
    const int together = sub_scales == SubScales::kSixBits ? 4 : 1;
    return panel_scales() + (i / together * 16 + column) * together + i % together;
  }
};

inline constexpr int kGroupQuads = 8;  // 32 codes

// Where a plane of `bits` bits in runs of `run` words has quad t.
struct QuadPlace {
  int word, shift;
  constexpr QuadPlace(int run, int bits, int t)
      : word(t / (run * (8 / bits)) * run + t % run), shift(bits * (t / run % (8 / bits))) {}
};

// The lowest `bits` bits of each byte of a quad.
constexpr std::uint32_t quad_mask(int bits) { return ((1u << bits) - 1) * 0x01010101u; }

inline constexpr BlockFormat kBlockQ8_0{
    .bytes = 34, .low_bits = 8, .offset = 128, .low_at = 2, .low_run = 8, .flip = 0x80};
inline constexpr BlockFormat kBlockQ4_0{.bytes = 18, .offset = 8, .low_at = 2};
inline constexpr BlockFormat kBlockQ4_1{.bytes = 20, .has_min = true, .m_at = 2, .low_at = 4};
inline constexpr BlockFormat kBlockQ5_0{.bytes = 22, .high_bits = 1, .offset = 16, .low_at = 6, .high_at = 2};
inline constexpr BlockFormat kBlockQ5_1{
    .bytes = 24, .high_bits = 1, .has_min = true, .m_at = 2, .low_at = 8, .high_at = 4};
inline constexpr BlockFormat kBlockQ4_K{.elems = 256,
                                        .bytes = 144,
                                        .has_min = true,
                                        .sub_scales = SubScales::kSixBits,
                                        .m_at = 2,
                                        .scales_at = 4,
                                        .low_at = 16,
                                        .low_run = 8};
inline constexpr BlockFormat kBlockQ5_K{.elems = 256,
                                        .bytes = 176,
                                        .high_bits = 1,
                                        .has_min = true,
                                        .sub_scales = SubScales::kSixBits,
                                        .m_at = 2,
                                        .scales_at = 4,
                                        .low_at = 48,
                                        .high_at = 16,
                                        .low_run = 8,
                                        .high_run = 8};
inline constexpr BlockFormat kBlockQ6_K{.elems = 256,
                                        .bytes = 210,
                                        .high_bits = 2,
                                        .offset = 32,
                                        .sub_scales = SubScales::kInt8,
                                        .d_at = 208,
                                        .scales_at = 192,
                                        .high_at = 128,
                                        .low_run = 16,
                                        .high_run = 8};

}  // namespace tessera::ops
