// Where a q8_0 cache has its blocks (quant/q8_0.h): in tiles of 32 rows of one head, one after the other. A
// tile takes as many bytes as its rows would in a file, a multiple of 64:
//
//   codes     for each 32 dims 1024 bytes, those of 32 rows
//   scales    for each 32 dims 64 bytes, f16, those of 32 rows: at least 0, infinite or NaN
//
// Of row r of the tile and dim i of the block the code lies in these 1024 bytes at
//
//   keys      128 (i / 4) + 4 r + i % 4
//   values    128 (r / 4) + 4 i + r % 4
//
// Dot products of unsigned with signed bytes find four dims of a key in a lane, beside other keys, and four
// values of a dim, beside other dims. Queries have signs, so codes of keys are 128 larger; weights times
// scales have none.
//
// The last tile of a head may have rows that the cache has not: they belong to the memory, and are never
// written.
#pragma once

#include <cstdint>

namespace tessera::ops {

inline constexpr std::int64_t kCacheTileRows = 32, kCacheBlock = 32;  // rows of a tile, dims of a block
inline constexpr std::int64_t kCacheBlockCodes = kCacheTileRows * kCacheBlock;
static_assert(kCacheTileRows == kCacheBlock);

// Of 32 x 32 codes, four of a lane beside each other.
static constexpr std::int64_t quad_code_at(std::int64_t code, std::int64_t lane) {
  return code / 4 * (4 * kCacheBlock) + 4 * lane + code % 4;
}
// From the start of a tile, in bytes, for dim d of all of a row.
static constexpr std::int64_t key_code_at(std::int64_t r, std::int64_t d) {
  return d / kCacheBlock * kCacheBlockCodes + quad_code_at(d % kCacheBlock, r);
}
static constexpr std::int64_t value_code_at(std::int64_t r, std::int64_t d) {
  return d / kCacheBlock * kCacheBlockCodes + quad_code_at(r, d % kCacheBlock);
}
// Where rows have `dim` dims.
static constexpr std::int64_t cache_scale_at(std::int64_t dim, std::int64_t r, std::int64_t d) {
  return kCacheTileRows * dim + d / kCacheBlock * (2 * kCacheTileRows) + 2 * r;
}

}  // namespace tessera::ops
