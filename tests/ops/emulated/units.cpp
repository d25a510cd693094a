#include "tests/ops/emulated/units.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace emulated {
namespace {

constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

// Denormals become zeros of their sign.
float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

float add(float a, float b) { return flushed(flushed(a) + flushed(b)); }
float fma(float a, float b, float c) { return flushed(std::fma(flushed(a), flushed(b), flushed(c))); }

float even(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float odd(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xFFFF0000u); }

std::int32_t wrapped(std::int64_t x) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(x)); }

struct Tile {
  int rows = 0, row_bytes = 0;
  alignas(64) std::uint8_t bytes[kRows][kRowBytes] = {};

  std::uint32_t dword(int row, int column) const {
    std::uint32_t word;
    std::memcpy(&word, &bytes[row][4 * column], 4);
    return word;
  }
  void set_dword(int row, int column, std::uint32_t word) { std::memcpy(&bytes[row][4 * column], &word, 4); }
  void zero() { std::memset(bytes, 0, sizeof bytes); }
};

struct Tiles {
  bool configured = false;
  Tile tile[kTiles];
};
thread_local Tiles tiles;

bool fault(const char* instruction, const char* what) {
  ADD_FAILURE() << instruction << " faults: " << what;
  return true;
}

bool faults(const char* instruction, int tile) {
  if (!tiles.configured) return fault(instruction, "no tiles are configured");
  if (tile < 0 || tile >= kTiles) return fault(instruction, "there are eight tiles");
  if (tiles.tile[tile].rows == 0) return fault(instruction, "the tile has no rows");
  return false;
}

// The rule of shapes for sums += a times b.
bool faults(const char* instruction, int sums, int a, int b) {
  if (faults(instruction, sums) || faults(instruction, a) || faults(instruction, b)) return true;
  if (sums == a || sums == b || a == b) return fault(instruction, "two operands are the same tile");
  const Tile &c = tiles.tile[sums], &left = tiles.tile[a], &right = tiles.tile[b];
  if (c.row_bytes % 4 || left.row_bytes % 4 || right.row_bytes % 4)
    return fault(instruction, "broken dwords");
  if (left.rows != c.rows) return fault(instruction, "a and the sums have different rows");
  if (right.row_bytes != c.row_bytes) return fault(instruction, "b and the sums have different columns");
  if (left.row_bytes != 4 * right.rows) return fault(instruction, "columns of a are not rows of b");
  return false;
}

// new_sum(old sum, row of a, column of b), for each sum; what lies beyond the tile's shape becomes zero.
template <typename NewSum>
void for_each_sum(Tile& c, NewSum new_sum) {
  Tile result = c;
  result.zero();
  for (int m = 0; m < c.rows; ++m) {
    for (int n = 0; n < c.row_bytes / 4; ++n) result.set_dword(m, n, new_sum(c.dword(m, n), m, n));
  }
  c = result;
}

int byte_of(std::uint32_t dword, int i, bool is_signed) {
  const auto byte = static_cast<std::uint8_t>(dword >> 8 * i);
  return is_signed ? static_cast<std::int8_t>(byte) : byte;
}

}  // namespace

std::int32_t dot_bytes(std::int32_t sum, std::uint32_t u, std::uint32_t s) {
  std::int64_t total = sum;
  for (int i = 0; i < 4; ++i) total += byte_of(u, i, false) * byte_of(s, i, true);
  return wrapped(total);
}

float dot_bf16(float sum, std::uint32_t a, std::uint32_t b) {
  return fma(even(a), even(b), fma(odd(a), odd(b), sum));
}

std::uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(flushed(x));
  if (std::isnan(x)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void load_tile_config(const void* config) {
  constexpr const char* kName = "LDTILECFG";
  TileConfig c;
  std::memcpy(&c, config, sizeof c);
  Tiles loaded;
  loaded.configured = c.palette != 0;
  if (c.palette > 1) return static_cast<void>(fault(kName, "unknown palette"));
  for (const std::uint8_t byte : c.reserved) {
    if (byte) return static_cast<void>(fault(kName, "a reserved byte is set"));
  }
  if (c.start_row) return static_cast<void>(fault(kName, "loads and stores would start in the middle"));
  for (int i = 0; i < 16 && c.palette; ++i) {
    if (i >= kTiles ? c.rows[i] || c.row_bytes[i] : !c.rows[i] != !c.row_bytes[i]) {
      return static_cast<void>(fault(kName, "a tile that there is not, or one without rows or columns"));
    }
    if (c.rows[i] > kRows || c.row_bytes[i] > kRowBytes)
      return static_cast<void>(fault(kName, "a large tile"));
    if (i < kTiles) {
      loaded.tile[i].rows = c.rows[i];
      loaded.tile[i].row_bytes = c.row_bytes[i];
    }
  }
  tiles = loaded;
}

void release_tiles() { tiles = Tiles(); }

bool tiles_in_use() { return tiles.configured; }

void zero_tile(int tile) {
  if (!faults("TILEZERO", tile)) tiles.tile[tile].zero();
}

void load_tile(int tile, const void* base, std::int64_t stride) {
  if (faults("TILELOADD", tile)) return;
  Tile& t = tiles.tile[tile];
  t.zero();
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(t.bytes[r], static_cast<const std::uint8_t*>(base) + r * stride,
                static_cast<std::size_t>(t.row_bytes));
  }
}

void store_tile(int tile, void* base, std::int64_t stride) {
  if (faults("TILESTORED", tile)) return;
  const Tile& t = tiles.tile[tile];
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(static_cast<std::uint8_t*>(base) + r * stride, t.bytes[r],
                static_cast<std::size_t>(t.row_bytes));
  }
}

void multiply_byte_tiles(int sums, int a, int b, bool a_signed, bool b_signed) {
  if (faults("TDPB..D", sums, a, b)) return;
  const Tile &left = tiles.tile[a], &right = tiles.tile[b];
  for_each_sum(tiles.tile[sums], [&](std::uint32_t sum, int m, int n) {
    std::int64_t total = static_cast<std::int32_t>(sum);
    for (int k = 0; k < right.rows; ++k) {
      for (int i = 0; i < 4; ++i) {
        total += byte_of(left.dword(m, k), i, a_signed) * byte_of(right.dword(k, n), i, b_signed);
      }
    }
    return static_cast<std::uint32_t>(wrapped(total));
  });
}

void multiply_bf16_tiles(int sums, int a, int b) {
  if (faults("TDPBF16PS", sums, a, b)) return;
  const Tile &left = tiles.tile[a], &right = tiles.tile[b];
  for_each_sum(tiles.tile[sums], [&](std::uint32_t sum, int m, int n) {
    float evens = 0, odds = 0;
    for (int k = 0; k < right.rows; ++k) {
      evens = fma(even(left.dword(m, k)), even(right.dword(k, n)), evens);
      odds = fma(odd(left.dword(m, k)), odd(right.dword(k, n)), odds);
    }
    return std::bit_cast<std::uint32_t>(add(std::bit_cast<float>(sum), add(evens, odds)));
  });
}

}  // namespace emulated
