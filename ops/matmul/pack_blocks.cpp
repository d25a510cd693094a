#include "ops/matmul/pack_blocks.h"

#include <algorithm>
#include <cstring>

#include "ops/matmul/block_formats.h"
#include "ops/matmul/kernels.h"
#include "quant/formats.h"

namespace tessera::ops {
namespace {

constexpr int kLargestBlock = 210;
constexpr std::uint32_t kEachByte = 0x01010101;

std::uint32_t load32(const void* p) {
  std::uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}
void store32(std::uint32_t word, void* p) { std::memcpy(p, &word, sizeof word); }

// Codes are moved as quads, four of them in the bytes of a dword.
constexpr int kGroupQuads = kGroupElements / 4;

// Where a plane of `bits` bits, in runs of `run` words, has quad t (ops/matmul/block_formats.h).
struct Place {
  int word, shift;
  constexpr Place(int run, int bits, int t)
      : word(t / (run * (8 / bits)) * run + t % run), shift(bits * (t / run % (8 / bits))) {}
};

constexpr std::uint32_t mask(int bits) { return ((1u << bits) - 1) * kEachByte; }

std::uint32_t get(const std::uint8_t* plane, Place at, int bits) {
  return load32(plane + 4 * at.word) >> at.shift & mask(bits);
}
void put(std::uint32_t quad, Place at, std::uint8_t* plane) {
  store32(load32(plane + 4 * at.word) | quad << at.shift, plane + 4 * at.word);
}

// Bits 4 t .. 4 t + 3 of a row of bits as a quad, and back.
std::uint32_t get_bits(const std::uint8_t* plane, int t) {
  return (plane[t / 2] >> t % 2 * 4 & 15u) * 0x00204081u & kEachByte;
}
void put_bits(std::uint32_t quad, int t, std::uint8_t* plane) {
  plane[t / 2] = static_cast<std::uint8_t>(plane[t / 2] | (quad * 0x01020408u >> 24 & 15u) << t % 2 * 4);
}

// Quad t of a block of a file.
template <BlockFormat kFormat>
std::uint32_t file_quad(const std::uint8_t* block, int t) {
  std::uint32_t quad =
      get(block + kFormat.low_at, Place(kFormat.low_run, kFormat.low_bits, t), kFormat.low_bits);
  if constexpr (kFormat.high_bits > 0 && kFormat.high_run > 0) {
    const Place at(kFormat.high_run, kFormat.high_bits, t);
    quad |= get(block + kFormat.high_at, at, kFormat.high_bits) << kFormat.low_bits;
  } else if constexpr (kFormat.high_bits > 0) {
    quad |= get_bits(block + kFormat.high_at, t) << kFormat.low_bits;
  }
  return quad ^ static_cast<unsigned>(kFormat.flip) * kEachByte;
}

template <BlockFormat kFormat>
void put_file_quad(std::uint32_t quad, int t, std::uint8_t* block) {
  quad ^= static_cast<unsigned>(kFormat.flip) * kEachByte;
  put(quad & mask(kFormat.low_bits), Place(kFormat.low_run, kFormat.low_bits, t), block + kFormat.low_at);
  if constexpr (kFormat.high_bits > 0) {
    const std::uint32_t high = quad >> kFormat.low_bits & mask(kFormat.high_bits);
    if constexpr (kFormat.high_run > 0) {
      put(high, Place(kFormat.high_run, kFormat.high_bits, t), block + kFormat.high_at);
    } else {
      put_bits(high, t, block + kFormat.high_at);
    }
  }
}

// The words of a panel's plane lie 64 bytes apart for one column.
void put_plane(const std::uint32_t (&quads)[kGroupQuads], int shift, int bits, std::uint8_t* plane) {
  for (int word = 0; word < bits; ++word) {
    std::uint32_t packed = 0;
    for (int t = word; t < kGroupQuads; t += bits) {
      packed |= (quads[t] >> shift & mask(bits)) << Place(bits, bits, t).shift;
    }
    store32(packed, plane + 64 * word);
  }
}
void get_plane(const std::uint8_t* plane, int shift, int bits, std::uint32_t (&quads)[kGroupQuads]) {
  for (int t = 0; t < kGroupQuads; ++t) {
    const Place at(bits, bits, t);
    quads[t] |= (load32(plane + 64 * at.word) >> at.shift & mask(bits)) << shift;
  }
}

// Where the scales' byte i of a column stands: dwords of six-bit numbers, single bytes otherwise.
template <BlockFormat kFormat>
constexpr int scale_at(int column, int i) {
  constexpr int kTogether = kFormat.sub_scales == SubScales::kSixBits ? 4 : 1;
  return kFormat.panel_scales() + (i / kTogether * kPanelColumns + column) * kTogether + i % kTogether;
}

template <BlockFormat kFormat>
void pack_block(const std::uint8_t* block, int column, std::uint8_t* panel) {
  std::memcpy(panel + 2 * column, block + kFormat.d_at, 2);
  if constexpr (kFormat.has_min) std::memcpy(panel + kFormat.panel_m() + 2 * column, block + kFormat.m_at, 2);
  for (int i = 0; i < kFormat.scale_bytes(); ++i) {
    panel[scale_at<kFormat>(column, i)] = block[kFormat.scales_at + i];
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
void pack_panel(const std::byte* rows, std::int64_t stride, std::int64_t columns, std::int64_t blocks,
                std::byte* panel) noexcept {
  constexpr std::uint8_t kZero[kFormat.bytes] = {};
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (int c = 0; c < kPanelColumns; ++c) {
      const std::byte* block = rows + c * stride + b * kFormat.bytes;
      pack_block<kFormat>(c < columns ? reinterpret_cast<const std::uint8_t*>(block) : kZero, c,
                          reinterpret_cast<std::uint8_t*>(panel + b * kFormat.panel_bytes()));
    }
  }
}

template <BlockFormat kFormat>
void unpack_block(const std::byte* first, std::int64_t index, int column, std::uint8_t* block) noexcept {
  const auto* panel = reinterpret_cast<const std::uint8_t*>(first + index * kFormat.panel_bytes());
  std::fill_n(block, kFormat.bytes, std::uint8_t{0});
  std::memcpy(block + kFormat.d_at, panel + 2 * column, 2);
  if constexpr (kFormat.has_min) std::memcpy(block + kFormat.m_at, panel + kFormat.panel_m() + 2 * column, 2);
  for (int i = 0; i < kFormat.scale_bytes(); ++i) {
    block[kFormat.scales_at + i] = panel[scale_at<kFormat>(column, i)];
  }
  for (int g = 0; g < kFormat.groups(); ++g) {
    std::uint32_t quads[kGroupQuads] = {};
    const std::uint8_t* plane = panel + kFormat.panel_codes() + g * kFormat.group_bytes() + 4 * column;
    get_plane(plane, 0, kFormat.low_bits, quads);
    if constexpr (kFormat.high_bits > 0) {
      get_plane(plane + 64 * kFormat.low_bits, kFormat.low_bits, kFormat.high_bits, quads);
    }
    for (int t = 0; t < kGroupQuads; ++t) put_file_quad<kFormat>(quads[t], g * kGroupQuads + t, block);
  }
}

template <BlockFormat kFormat>
constexpr BlockPacking packing(DType dtype) {
  static_assert(kFormat.bytes <= kLargestBlock);
  static_assert(kFormat.panel_codes() + kFormat.groups() * kFormat.group_bytes() == kFormat.panel_bytes());
  return {dtype, pack_panel<kFormat>, unpack_block<kFormat>};
}

constexpr BlockPacking kPackings[] = {packing<kBlockQ8_0>(DType::kQ8_0), packing<kBlockQ4_0>(DType::kQ4_0),
                                      packing<kBlockQ4_1>(DType::kQ4_1), packing<kBlockQ5_0>(DType::kQ5_0),
                                      packing<kBlockQ5_1>(DType::kQ5_1), packing<kBlockQ4_K>(DType::kQ4_K),
                                      packing<kBlockQ5_K>(DType::kQ5_K), packing<kBlockQ6_K>(DType::kQ6_K)};

}  // namespace

const BlockPacking* find_block_packing(DType dtype) {
  for (const BlockPacking& packing : kPackings) {
    if (packing.dtype == dtype) return &packing;
  }
  return nullptr;
}

void decode_column(const BlockPacking& packing, const std::byte* panel, int column, std::int64_t k,
                   float* y) {
  const quant::Format& format = *quant::find_format(packing.dtype);
  const std::int64_t elems = info(packing.dtype).block_elems;
  std::uint8_t block[kLargestBlock];
  for (std::int64_t b = 0; b < k / elems; ++b) {
    packing.unpack_block(panel, b, column, block);
    format.decode_row(block, elems, y + b * elems);
  }
}

}  // namespace tessera::ops
