// Rows and tiles of keys and values of each type, widened to f32: what the vector kernels of this folder
// share.
#pragma once

#include "ops/attention/kernels.h"

namespace {

using tessera::ops::kCacheBlock;
using tessera::ops::kCacheTileRows;

constexpr std::int64_t kLanes = F32::kLanes;

inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
// The first of the fewest parts of n, each at most `most` and about equally large.
inline std::int64_t even_part(std::int64_t n, std::int64_t most) {
  const std::int64_t parts = (n + most - 1) / most;
  return (n + parts - 1) / parts;
}

// Calls `line` for each cache line of rows that are used next.
template <typename Line>
inline void for_each_line(const std::byte* first, std::int64_t count, std::int64_t stride, std::int64_t bytes,
                          Line line) {
  if (stride == bytes) {
    bytes *= count;
    count = 1;
  }
  for (std::int64_t s = 0; s < count; ++s) {
    for (std::int64_t at = 0; at < bytes; at += 64) line(first + s * stride + at);
  }
}

// Into the second cache, without waiting. Each line occupies one of few miss buffers for as long as memory
// takes, and the processor does not read ahead: half of a core's bandwidth at best.
inline void prefetch_rows(const std::byte* first, std::int64_t count, std::int64_t stride,
                          std::int64_t bytes) {
  for_each_line(first, count, stride, bytes, [](const std::byte* line) { __builtin_prefetch(line, 0, 2); });
}

// Loads from each line. The processor reads ahead of loads in the order of memory, at full bandwidth; one
// that does not (Cpu::bytes_ahead) is asked for lines `ahead` bytes later instead, into the first cache.
inline void touch_rows(const std::byte* first, std::int64_t count, std::int64_t stride, std::int64_t bytes,
                       std::int64_t ahead) {
  for_each_line(first, count, stride, bytes, [ahead](const std::byte* line) {
    if (ahead > 0) {
      __builtin_prefetch(line + ahead);
    } else {
      static_cast<void>(*static_cast<const volatile std::byte*>(line));
    }
  });
}

inline F32 load_part(const float* p, std::int64_t n) {
  return n >= kLanes ? F32::load(p) : F32::load_n(p, n);
}

// A key or value as the cache has it: load gives kLanes of its elements from i on, of which there are n.
struct RowF32 {
  const std::byte* row;
  static std::int64_t bytes(std::int64_t dim) { return 4 * dim; }
  F32 load(std::int64_t i, std::int64_t n) const {
    return load_part(reinterpret_cast<const float*>(row) + i, n);
  }
};
struct RowF16 {
  const std::byte* row;
  static std::int64_t bytes(std::int64_t dim) { return 2 * dim; }
  F32 load(std::int64_t i, std::int64_t n) const {
    const auto* p = reinterpret_cast<const std::uint16_t*>(row) + i;
    return n >= kLanes ? F32::load_f16(p) : F32::load_f16_n(p, n);
  }
};
struct RowBf16 {
  const std::byte* row;
  static std::int64_t bytes(std::int64_t dim) { return 2 * dim; }
  const std::uint16_t* at(std::int64_t i) const { return reinterpret_cast<const std::uint16_t*>(row) + i; }
  F32 load(std::int64_t i, std::int64_t n) const {
    return n >= kLanes ? F32::load_bf16(at(i)) : F32::load_bf16_n(at(i), n);
  }
};
// The tile of a q8_0 cache (ops/cache_tiles.h) that has row s of a head whose rows begin at `rows`. A scale
// of 11 bits times a code of 8 is exact.
struct TileQ8_0 {
  const std::byte* tile;
  std::int64_t dim;

  static std::int64_t bytes(std::int64_t dim) { return dim / kCacheBlock * (kCacheBlock + 2); }  // of a row
  static TileQ8_0 of_row(const std::byte* rows, std::int64_t s, std::int64_t stride, std::int64_t dim) {
    return {rows + s / kCacheTileRows * kCacheTileRows * stride, dim};
  }
  // Of rows from r of the tile on those for dim d.
  const std::uint16_t* scales(std::int64_t r, std::int64_t d) const {
    return reinterpret_cast<const std::uint16_t*>(tile + tessera::ops::cache_scale_at(dim, r, d));
  }
  // kLanes keys from row r on, a multiple of it, of dims d to d + 3, a vector each.
  void load_keys(std::int64_t r, std::int64_t d, F32 (&dims)[4]) const {
    const auto* at = reinterpret_cast<const std::uint8_t*>(tile + tessera::ops::key_code_at(r, d));
    const Quads codes = Quads::load(at);
    const F32 offset = F32::all(128.0f), scale = F32::load_f16(scales(r, d));
    dims[0] = (I32::byte<0>(codes).to_f32() - offset) * scale;
    dims[1] = (I32::byte<1>(codes).to_f32() - offset) * scale;
    dims[2] = (I32::byte<2>(codes).to_f32() - offset) * scale;
    dims[3] = (I32::byte<3>(codes).to_f32() - offset) * scale;
  }
  // kLanes dims from d on, a multiple of it, of the values in rows r to r + 3, a vector each, r a multiple
  // of 4.
  void load_values(std::int64_t r, std::int64_t d, F32 (&rows)[4]) const {
    const auto* at = reinterpret_cast<const std::uint8_t*>(tile + tessera::ops::value_code_at(r, d));
    const Quads codes = Quads::load(at);
    const std::uint16_t* scale = scales(r, d);
    rows[0] = I32::signed_byte<0>(codes).to_f32() * F32::all_f16(scale[0]);
    rows[1] = I32::signed_byte<1>(codes).to_f32() * F32::all_f16(scale[1]);
    rows[2] = I32::signed_byte<2>(codes).to_f32() * F32::all_f16(scale[2]);
    rows[3] = I32::signed_byte<3>(codes).to_f32() * F32::all_f16(scale[3]);
  }
};

}  // namespace
