// Plain C++ for the units that a machine may lack: dots of bytes and words, bf16 dots and conversions, matrix
// tiles.
//
// Source of every rule: Intel SDM volume 2, the pseudo-code of the instruction named. bf16 arithmetic takes
// denormals for zeros and flushes them, rounds to nearest even, and neither reads nor writes MXCSR.
// A machine's own unit is compared with these functions in units_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated {

// VPDPBUSD, one lane: sum + the four products of the unsigned bytes of `u` and the signed ones of `s`; wraps.
std::int32_t dot_bytes(std::int32_t sum, std::uint32_t u, std::uint32_t s);

// VDPBF16PS, one lane: sum + a.odd b.odd, then + a.even b.even, each a fused step. The even element of a pair
// is the low half.
float dot_bf16(float sum, std::uint32_t a, std::uint32_t b);

// VCVTNEPS2BF16, one lane: to nearest even; NaN made quiet and cut; a denormal becomes a zero of its sign.
std::uint16_t to_bf16(float x);

// Tiles: one set for each thread, as the processor has it. What would fault is a failure of the running test
// and does nothing else.
struct TileConfig {  // the operand of LDTILECFG
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

void load_tile_config(const void* config);
void release_tiles();
void zero_tile(int tile);
void load_tile(int tile, const void* base, std::int64_t stride);
void store_tile(int tile, void* base, std::int64_t stride);

// TDPB..D: sums of 16 x 16 dwords += a times b, bytes signed or not. TDPBF16PS: sums of floats, as two chains
// of fused steps from 0, one over the even elements and one over the odd ones, both added, then added to the
// sum.
void multiply_byte_tiles(int sums, int a, int b, bool a_signed, bool b_signed);
void multiply_bf16_tiles(int sums, int a, int b);

// Whether tiles are configured: a kernel releases what it configured.
bool tiles_in_use();

}  // namespace emulated
