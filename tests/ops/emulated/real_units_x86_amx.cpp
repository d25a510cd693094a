#include <immintrin.h>

#include "tests/ops/emulated/real_units.h"
#include "tests/ops/emulated/units.h"

namespace real_units {
namespace {

// Sums in tile 0, a in 1, b in 2.
void load(const TileProduct& p) {
  emulated::TileConfig config{};
  config.palette = 1;
  const auto configure = [&](int tile, int rows, int dwords) {
    config.rows[tile] = static_cast<std::uint8_t>(rows);
    config.row_bytes[tile] = static_cast<std::uint16_t>(4 * dwords);
  };
  configure(0, p.rows, p.columns);
  configure(1, p.rows, p.depth);
  configure(2, p.depth, p.columns);
  // g++ 12 declares only 8 of the 64 bytes as read and would drop the other stores.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
  _tile_loadd(0, p.sums, 64);
  _tile_loadd(1, p.a, 64);
  _tile_loadd(2, p.b, 64);
}

void store(const TileProduct& p) {
  _tile_stored(0, p.sums, 64);
  _tile_release();
}

}  // namespace

void multiply_bf16_tiles_x86_amx(const TileProduct& p) {
  load(p);
  _tile_dpbf16ps(0, 1, 2);
  store(p);
}

void multiply_byte_tiles_x86_amx(const TileProduct& p, bool a_signed, bool b_signed) {
  load(p);
  if (a_signed) {
    if (b_signed) {
      _tile_dpbssd(0, 1, 2);
    } else {
      _tile_dpbsud(0, 1, 2);
    }
  } else if (b_signed) {
    _tile_dpbusd(0, 1, 2);
  } else {
    _tile_dpbuud(0, 1, 2);
  }
  store(p);
}

}  // namespace real_units
