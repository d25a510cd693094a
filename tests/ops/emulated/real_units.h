// The real units behind units.h, many at a time. A function may only be called where Cpu::has(level); each
// level has its file, compiled for it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace real_units {

// out[i] = the lane's result, for count lanes, a multiple of 16.
void dot_bytes_x86_avxvnni(const std::int32_t* sum, const std::uint32_t* u, const std::uint32_t* s,
                           std::int32_t* out, std::size_t count);
void dot_bytes_x86_avx512vnni(const std::int32_t* sum, const std::uint32_t* u, const std::uint32_t* s,
                              std::int32_t* out, std::size_t count);
void dot_bf16_x86_avx512bf16(const float* sum, const std::uint32_t* a, const std::uint32_t* b, float* out,
                             std::size_t count);
// As VCVTNEPS2BF16 and as VCVTNE2PS2BF16 give it, the latter's halves in order of x.
void to_bf16_x86_avx512bf16(const float* x, std::uint16_t* one, std::uint16_t* two, std::size_t count);

// A product of tiles of these shapes: a rows x 4 depth bytes, b depth x 4 columns bytes, sums rows x 4
// columns bytes, each row 64 bytes from the next, in and out.
struct TileProduct {
  int rows, depth, columns;
  const std::uint8_t *a, *b;
  std::uint8_t* sums;
};
void multiply_bf16_tiles_x86_amx(const TileProduct& p);
void multiply_byte_tiles_x86_amx(const TileProduct& p, bool a_signed, bool b_signed);

}  // namespace real_units
