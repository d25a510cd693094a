#include <algorithm>
#include <cstring>

#include "ops/pack_panel/kernels.h"

namespace tessera::ops {
namespace {

constexpr int kColumns = 16;

std::uint32_t load32(const void* p) {
  std::uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}
void store32(std::uint32_t word, void* p) { std::memcpy(p, &word, sizeof word); }

// `rows.units` numbers of each row as panel[unit][16].
template <typename T>
void pack_numbers(const PanelRows& rows) {
  constexpr std::int64_t kSize = sizeof(T);
  for (std::int64_t i = 0; i < rows.units; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      T number = 0;
      if (c < rows.columns) std::memcpy(&number, rows.rows + c * rows.stride + i * kSize, kSize);
      std::memcpy(rows.panel + (i * kColumns + c) * kSize, &number, kSize);
    }
  }
}

// Quad t of a plane in a file, in the lowest bits of its bytes.
std::uint32_t plane_quad(const std::uint8_t* plane, int run, int bits, int t) {
  const QuadPlace at(run, bits, t);
  return load32(plane + 4 * at.word) >> at.shift & quad_mask(bits);
}

// Bits 4 t .. 4 t + 3 of a row of bits, one to a byte.
std::uint32_t bits_quad(const std::uint8_t* bits, int t) {
  return (bits[t / 2] >> t % 2 * 4 & 15u) * 0x00204081u & quad_mask(1);
}

// Quad t of a block of a file: four codes.
template <BlockFormat kFormat>
std::uint32_t file_quad(const std::uint8_t* block, int t) {
  std::uint32_t quad = plane_quad(block + kFormat.low_at, kFormat.low_run, kFormat.low_bits, t);
  if constexpr (kFormat.high_bits > 0 && kFormat.high_run > 0) {
    quad |= plane_quad(block + kFormat.high_at, kFormat.high_run, kFormat.high_bits, t) << kFormat.low_bits;
  } else if constexpr (kFormat.high_bits > 0) {
    quad |= bits_quad(block + kFormat.high_at, t) << kFormat.low_bits;
  }
  return quad ^ static_cast<unsigned>(kFormat.flip) * quad_mask(1);
}

// The words of a panel's plane lie 64 bytes apart for one column.
void put_plane(const std::uint32_t (&quads)[kGroupQuads], int shift, int bits, std::uint8_t* plane) {
  for (int word = 0; word < bits; ++word) {
    std::uint32_t packed = 0;
    for (int t = word; t < kGroupQuads; t += bits) {
      packed |= (quads[t] >> shift & quad_mask(bits)) << QuadPlace(bits, bits, t).shift;
    }
    store32(packed, plane + 64 * word);
  }
}

template <BlockFormat kFormat>
void pack_block(const std::uint8_t* block, int column, std::uint8_t* panel) {
  std::memcpy(panel + 2 * column, block + kFormat.d_at, 2);
  if constexpr (kFormat.has_min) std::memcpy(panel + kFormat.panel_m() + 2 * column, block + kFormat.m_at, 2);
  for (int i = 0; i < kFormat.scale_bytes(); ++i) {
    panel[kFormat.panel_scale(column, i)] = block[kFormat.scales_at + i];
  }
  for (int g = 0; g < kFormat.groups(); ++g) {
    std::uint32_t quads[kGroupQuads];
    for (int t = 0; t < kGroupQuads; ++t) quads[t] = file_quad<kFormat>(block, g * kGroupQuads + t);
    std::uint8_t* plane = panel + kFormat.panel_codes() + g * kFormat.group_bytes() + 4 * column;
    put_plane(quads, 0, kFormat.low_bits, plane);
    if constexpr (kFormat.high_bits > 0) {
      put_plane(quads, kFormat.low_bits, kFormat.high_bits, plane + 64 * kFormat.low_bits);
    }
  }
}

template <BlockFormat kFormat>
void pack_blocks(const PanelRows& rows) {
  constexpr std::uint8_t kZero[kFormat.bytes] = {};
  for (std::int64_t b = 0; b < rows.units; ++b) {
    for (int c = 0; c < kColumns; ++c) {
      const std::uint8_t* block = rows.rows + c * rows.stride + b * kFormat.bytes;
      pack_block<kFormat>(c < rows.columns ? block : kZero, c, rows.panel + b * kFormat.panel_bytes());
    }
  }
}

}  // namespace

void pack_f16_ref(const PanelRows& panel) noexcept { pack_numbers<std::uint16_t>(panel); }

void pack_bf16_ref(const PanelRows& panel) noexcept {
  PanelRows pairs = panel;
  pairs.units = panel.units / 2;
  pack_numbers<std::uint32_t>(pairs);
  if (panel.units % 2 == 0) return;
  std::uint8_t* last = panel.panel + pairs.units * kColumns * 4;
  std::fill_n(last, kColumns * 4, std::uint8_t{0});
  for (std::int64_t c = 0; c < panel.columns; ++c) {
    std::memcpy(last + c * 4, panel.rows + c * panel.stride + pairs.units * 4, 2);
  }
}

void pack_q8_0_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ8_0>(panel); }
void pack_q4_0_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ4_0>(panel); }
void pack_q4_1_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ4_1>(panel); }
void pack_q5_0_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ5_0>(panel); }
void pack_q5_1_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ5_1>(panel); }
void pack_q4_k_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ4_K>(panel); }
void pack_q5_k_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ5_K>(panel); }
void pack_q6_k_ref(const PanelRows& panel) noexcept { pack_blocks<kBlockQ6_K>(panel); }

}  // namespace tessera::ops
