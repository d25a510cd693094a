// Loops that keep one unit of a core as busy as it can be. They compute nothing of use; what they do is sized
// so that neither latency nor loads limit them: enough independent accumulators for two instructions a cycle
// of latency 6, all operands in registers.
//
// One sealed file a level (roofs_LEVEL.cpp): a function may only be called where Cpu::has(level).
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::bench {

// Vectors of sums that do not depend on each other: 12 of 16 registers, 24 of 32.
inline constexpr int kRoofSums256 = 12, kRoofSums512 = 24;
// Tiles of sums: 2 x 2, the other four of the eight hold operands.
inline constexpr int kRoofTiles = 4;

// Operations of one round, a multiply and an add counting as two.
inline constexpr double kRoofF32Avx2Ops = kRoofSums256 * 8 * 2.0;       // vfmadd, 8 lanes
inline constexpr double kRoofF32Avx512Ops = kRoofSums512 * 16 * 2.0;    // vfmadd, 16 lanes
inline constexpr double kRoofInt8AvxVnniOps = kRoofSums256 * 32 * 2.0;  // vpdpbusd, 8 lanes of 4 products
inline constexpr double kRoofInt8VnniOps = kRoofSums512 * 64 * 2.0;     // vpdpbusd, 16 lanes of 4 products
inline constexpr double kRoofBf16DotOps = kRoofSums512 * 32 * 2.0;      // vdpbf16ps, 16 lanes of 2 products
inline constexpr double kRoofBf16TileOps = kRoofTiles * 16 * 16 * 32 * 2.0;  // tdpbf16ps, 16 x 16 x 32
inline constexpr double kRoofInt8TileOps = kRoofTiles * 16 * 16 * 64 * 2.0;  // tdpbssd, 16 x 16 x 64

void roof_f32_x86_avx2(std::int64_t rounds) noexcept;
void roof_f32_x86_avx512(std::int64_t rounds) noexcept;
void roof_int8_x86_avxvnni(std::int64_t rounds) noexcept;
void roof_int8_x86_avx512vnni(std::int64_t rounds) noexcept;
void roof_bf16_x86_avx512bf16(std::int64_t rounds) noexcept;
void roof_bf16_x86_amx(std::int64_t rounds) noexcept;
void roof_int8_x86_amx(std::int64_t rounds) noexcept;

// Read every byte once, in order; data is aligned to 64 bytes, bytes a multiple of 256. Lines are asked for
// `ahead` bytes before they are loaded; 0: not at all.
void roof_read_x86_avx2(const std::byte* data, std::size_t bytes, std::size_t ahead) noexcept;
void roof_read_x86_avx512(const std::byte* data, std::size_t bytes, std::size_t ahead) noexcept;

}  // namespace tessera::bench
