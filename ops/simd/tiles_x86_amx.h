// Matrix tiles: AMX. A tile has 16 rows of 64 bytes.
//
// Intrinsics want the number of a tile as a literal, so kernels call them themselves. Compilers know little
// of what they read and write: g++ 12 takes _tile_loadd for a statement without operands in memory.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

inline constexpr int kTileRows = 16, kTileRowBytes = 64, kTileBytes = kTileRows * kTileRowBytes;

// What was written before is in memory when a tile is loaded after.
inline void finish_writes() { __asm__ volatile("" : : : "memory"); }

// All eight tiles whole, and zero. To be released before the kernel returns: the system saves tiles in use.
inline void configure_tiles() {
  // Operand of LDTILECFG (Intel SDM volume 2).
  struct alignas(64) TileConfig {
    std::uint8_t palette, start_row, reserved[14];
    std::uint16_t row_bytes[16];
    std::uint8_t rows[16];
  };
  TileConfig config{};
  config.palette = 1;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = kTileRowBytes;
    config.rows[i] = kTileRows;
  }
  // g++ 12 declares only 8 of the 64 bytes as read and would drop the other stores.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

// Tiles 0 to 3, where kernels keep their sums.
inline void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

}  // namespace
