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

void put(std::uint32_t quad, QuadPlace at, std::uint8_t* plane) {
  store32(load32(plane + 4 * at.word) | quad << at.shift, plane + 4 * at.word);
}

// A quad of single bits as bits 4 t .. 4 t + 3 of a row of bits.
void put_bits(std::uint32_t quad, int t, std::uint8_t* plane) {
  plane[t / 2] = static_cast<std::uint8_t>(plane[t / 2] | (quad * 0x01020408u >> 24 & 15u) << t % 2 * 4);
}

template <BlockFormat kFormat>
void put_file_quad(std::uint32_t quad, int t, std::uint8_t* block) {
  quad ^= static_cast<unsigned>(kFormat.flip) * kEachByte;
  put(quad & quad_mask(kFormat.low_bits), QuadPlace(kFormat.low_run, kFormat.low_bits, t),
      block + kFormat.low_at);
  if constexpr (kFormat.high_bits > 0) {
    const std::uint32_t high = quad >> kFormat.low_bits & quad_mask(kFormat.high_bits);
    if constexpr (kFormat.high_run > 0) {
      put(high, QuadPlace(kFormat.high_run, kFormat.high_bits, t), block + kFormat.high_at);
    } else {
      put_bits(high, t, block + kFormat.high_at);
    }
  }
}

// The words of a panel's plane lie 64 bytes apart for one column.
void get_plane(const std::uint8_t* plane, int shift, int bits, std::uint32_t (&quads)[kGroupQuads]) {
  for (int t = 0; t < kGroupQuads; ++t) {
    const QuadPlace at(bits, bits, t);
    quads[t] |= (load32(plane + 64 * at.word) >> at.shift & quad_mask(bits)) << shift;
  }
}

template <BlockFormat kFormat>
void unpack_block(const std::byte* first, std::int64_t index, int column, std::uint8_t* block) noexcept {
  const auto* panel = reinterpret_cast<const std::uint8_t*>(first + index * kFormat.panel_bytes());
  std::fill_n(block, kFormat.bytes, std::uint8_t{0});
  std::memcpy(block + kFormat.d_at, panel + 2 * column, 2);
  if constexpr (kFormat.has_min) std::memcpy(block + kFormat.m_at, panel + kFormat.panel_m() + 2 * column, 2);
  for (int i = 0; i < kFormat.scale_bytes(); ++i) {
    block[kFormat.scales_at + i] = panel[kFormat.panel_scale(column, i)];
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
  return {dtype, unpack_block<kFormat>};
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
