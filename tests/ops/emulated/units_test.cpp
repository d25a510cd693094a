// The emulation by values worked out by hand, and beside the real unit where this CPU has it.
#include "tests/ops/emulated/units.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <iostream>
#include <limits>
#include <random>
#include <vector>

#include "tensor/cpu.h"
#include "tests/ops/emulated/real_units.h"

namespace tessera::testing {
namespace {

constexpr std::uint32_t kOne = 0x3F80, kTwo = 0x4000, kThree = 0x4040;  // as bf16

std::uint32_t pair(std::uint32_t even, std::uint32_t odd) { return odd << 16 | even; }

// Bits, or "NaN" whatever its payload.
std::uint32_t bits(float x) { return std::isnan(x) ? 0x7FC00000u : std::bit_cast<std::uint32_t>(x); }

TEST(EmulatedUnits, DotBytesTakesUnsignedBySignedAndWraps) {
  EXPECT_EQ(emulated::dot_bytes(5, 0x04030201, 0x01FF0102), 5 + 2 + 2 - 3 + 4);
  EXPECT_EQ(emulated::dot_bytes(0, 0xFFFFFFFF, 0x80808080), -4 * 255 * 128);
  EXPECT_EQ(emulated::dot_bytes(std::numeric_limits<std::int32_t>::max(), 1, 1),
            std::numeric_limits<std::int32_t>::min());
}

TEST(EmulatedUnits, DotBf16AddsTheOddProductFirst) {
  EXPECT_EQ(emulated::dot_bf16(1, pair(kTwo, kThree), pair(kThree, kTwo)), 13);
  // 2^24 + 1 is 2^24: whether the other product comes before or after shows.
  const std::uint32_t big = 0x4B80, minus_big = 0xCB80;  // 2^24 and -2^24
  EXPECT_EQ(emulated::dot_bf16(1, pair(minus_big, big), pair(kOne, kOne)), 0);
  EXPECT_EQ(emulated::dot_bf16(0, pair(big, minus_big), pair(kOne, kOne)), 0);
  EXPECT_EQ(emulated::dot_bf16(0x1p24f, pair(kOne, minus_big), pair(kOne, kOne)), 1);
}

TEST(EmulatedUnits, Bf16ArithmeticHasNoDenormals) {
  const std::uint32_t denormal = 0x0001, least = 0x0080, half = 0x3F00;  // 2^-133, 2^-126, 1/2
  EXPECT_EQ(emulated::dot_bf16(0, denormal, 0x7F00), 0);
  EXPECT_EQ(emulated::dot_bf16(0, least, half), 0);
  EXPECT_EQ(bits(emulated::dot_bf16(-0x1p-130f, 0, 0)), 0u);
  EXPECT_EQ(emulated::dot_bf16(0, least, kTwo), 0x1p-125f);
}

TEST(EmulatedUnits, ToBf16RoundsToEvenAndKeepsNaN) {
  EXPECT_EQ(emulated::to_bf16(std::bit_cast<float>(0x3F808000u)), 0x3F80);
  EXPECT_EQ(emulated::to_bf16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
  EXPECT_EQ(emulated::to_bf16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(emulated::to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(emulated::to_bf16(std::bit_cast<float>(0x7F800001u)), 0x7FC0);
  EXPECT_EQ(emulated::to_bf16(std::bit_cast<float>(0xFFFFFFFFu)), 0xFFFF);
  EXPECT_EQ(emulated::to_bf16(-0x1p-130f), 0x8000);
}

emulated::TileConfig config_of(int sums_rows, int depth, int columns) {
  emulated::TileConfig c{};
  c.palette = 1;
  const int rows[] = {sums_rows, sums_rows, depth}, dwords[] = {columns, depth, columns};
  for (int i = 0; i < 3; ++i) {
    c.rows[i] = static_cast<std::uint8_t>(rows[i]);
    c.row_bytes[i] = static_cast<std::uint16_t>(4 * dwords[i]);
  }
  return c;
}

void configure(const emulated::TileConfig& c) { emulated::load_tile_config(&c); }

using Bytes = std::vector<std::uint8_t>;

TEST(EmulatedUnits, TilesLoadAndStoreTheirShapeOnly) {
  configure(config_of(3, 2, 5));
  Bytes from(16 * 80), to(16 * 64, 0xEE);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint8_t>(i * 7 + 1);
  emulated::load_tile(0, from.data(), 80);
  emulated::store_tile(0, to.data(), 64);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const std::size_t row = i / 64, column = i % 64;
    EXPECT_EQ(to[i], row < 3 && column < 20 ? from[row * 80 + column] : 0xEE) << "at " << i;
  }
  emulated::zero_tile(0);
  emulated::store_tile(0, to.data(), 64);
  EXPECT_EQ(to[2 * 64 + 19], 0);
  EXPECT_TRUE(emulated::tiles_in_use());
  emulated::release_tiles();
  EXPECT_FALSE(emulated::tiles_in_use());
}

TEST(EmulatedUnits, WhatWouldFaultIsAFailure) {
  EXPECT_NONFATAL_FAILURE(emulated::zero_tile(0), "no tiles are configured");
  emulated::TileConfig bad = config_of(17, 1, 1);
  EXPECT_NONFATAL_FAILURE(emulated::load_tile_config(&bad), "a large tile");
  bad = config_of(1, 1, 1);
  bad.rows[8] = 1;
  EXPECT_NONFATAL_FAILURE(emulated::load_tile_config(&bad), "a tile that there is not");
  bad = config_of(1, 1, 1);
  bad.reserved[13] = 1;
  EXPECT_NONFATAL_FAILURE(emulated::load_tile_config(&bad), "a reserved byte");
  bad = config_of(1, 1, 1);
  bad.palette = 2;
  EXPECT_NONFATAL_FAILURE(emulated::load_tile_config(&bad), "unknown palette");
  configure(config_of(4, 3, 2));
  EXPECT_NONFATAL_FAILURE(emulated::zero_tile(3), "the tile has no rows");
  EXPECT_NONFATAL_FAILURE(emulated::multiply_bf16_tiles(0, 1, 1), "the same tile");
  EXPECT_NONFATAL_FAILURE(emulated::multiply_bf16_tiles(0, 2, 1), "different rows");
  EXPECT_NONFATAL_FAILURE(emulated::multiply_byte_tiles(1, 0, 2, true, true), "different columns");
  emulated::TileConfig deep = config_of(4, 3, 2);
  deep.row_bytes[1] = 16;
  configure(deep);
  EXPECT_NONFATAL_FAILURE(emulated::multiply_bf16_tiles(0, 1, 2), "columns of a are not rows of b");
  emulated::release_tiles();
}

TEST(EmulatedUnits, TilesOfBytesMultiplyAsIntegers) {
  configure(config_of(1, 2, 1));
  const std::uint8_t a[64] = {255, 1, 2, 3, 4, 5, 6, 128}, b[2 * 64] = {1, 255, 3, 4};
  std::uint8_t second[2 * 64] = {};
  std::memcpy(second, b, sizeof b);
  second[64 + 3] = 128;
  const auto product = [&](bool a_signed, bool b_signed) {
    std::int32_t sum = 1000;
    emulated::load_tile(0, &sum, 64);
    emulated::load_tile(1, a, 64);
    emulated::load_tile(2, second, 64);
    emulated::multiply_byte_tiles(0, 1, 2, a_signed, b_signed);
    emulated::store_tile(0, &sum, 64);
    return sum - 1000;
  };
  EXPECT_EQ(product(true, true), -1 - 1 + 6 + 12 + 128 * 128);
  EXPECT_EQ(product(true, false), -1 + 255 + 6 + 12 - 128 * 128);
  EXPECT_EQ(product(false, true), 255 - 1 + 6 + 12 - 128 * 128);
  EXPECT_EQ(product(false, false), 255 + 255 + 6 + 12 + 128 * 128);
  emulated::release_tiles();
}

TEST(EmulatedUnits, TilesOfBf16AddEvenAndOddChains) {
  configure(config_of(1, 2, 1));
  // Even chain: 2^24 + 1 = 2^24, odd chain: -2^24 + 1: their sum 1, not 2 and not 0; then the old sum.
  const std::uint32_t a[16] = {pair(0x4B80, 0xCB80), pair(kOne, kOne)};
  std::uint32_t b[2 * 16] = {pair(kOne, kOne)};
  b[16] = pair(kOne, kOne);
  float sum = 0.5f;
  emulated::load_tile(0, &sum, 64);
  emulated::load_tile(1, a, 64);
  emulated::load_tile(2, b, 64);
  emulated::multiply_bf16_tiles(0, 1, 2);
  emulated::store_tile(0, &sum, 64);
  EXPECT_EQ(sum, 1.5f);
  emulated::release_tiles();
}

// ---- beside the real units ----

constexpr std::size_t kLanes = std::size_t{1} << 20;

bool lacks(IsaLevel level) {
  if (Cpu::from_environment().has(level)) return false;
  std::cout << name(level) << ": emulated only, this CPU lacks the unit\n";
  return true;
}

// How many results differ, and by how many units in the last place at most.
struct Differences {
  std::size_t lanes = 0, count = 0, nan = 0;
  std::int64_t most = 0;

  void add(float a, float b) {
    ++lanes;
    if (bits(a) == bits(b)) return;
    ++count;
    if (std::isnan(a) || std::isnan(b)) {
      ++nan;
    } else {
      most = std::max(most, std::abs(ordered(a) - ordered(b)));
    }
  }
  void print(const char* what, IsaLevel level) const {
    std::cout << name(level) << " (" << Cpu::detect().brand() << "): " << what << " of " << kLanes
              << " lanes: ";
    if (count == 0) {
      std::cout << "all equal\n";
    } else {
      std::cout << count << " differ, by at most " << most << " ulp, " << nan << " in being NaN\n";
    }
  }

 private:
  static std::int64_t ordered(float x) {
    const auto b = std::bit_cast<std::int32_t>(x);
    return b < 0 ? -static_cast<std::int64_t>(b & 0x7FFFFFFF) : b;
  }
};

template <typename Real, typename Emulated>
void expect_equal_dots(Real real, Emulated dot) {
  std::mt19937 engine(1);
  std::vector<std::int32_t> sum(kLanes), out(kLanes);
  std::vector<std::uint32_t> u(kLanes), s(kLanes);
  constexpr std::uint32_t kEdges[] = {0, 0xFFFFFFFF, 0x80808080, 0x7F7F7F7F, 0x01010101, 0x80008000};
  for (std::size_t i = 0; i < kLanes; ++i) {
    sum[i] = static_cast<std::int32_t>(engine());
    u[i] = i % 7 ? static_cast<std::uint32_t>(engine()) : kEdges[engine() % std::size(kEdges)];
    s[i] = i % 5 ? static_cast<std::uint32_t>(engine()) : kEdges[engine() % std::size(kEdges)];
  }
  real(sum.data(), u.data(), s.data(), out.data(), kLanes);
  for (std::size_t i = 0; i < kLanes; ++i) {
    ASSERT_EQ(out[i], dot(sum[i], u[i], s[i])) << "lane " << i;
  }
}

TEST(RealUnits, DotsOfBytesEqualTheEmulation) {
#if defined(__x86_64__)
  if (!lacks(IsaLevel::kAvxVnni)) expect_equal_dots(real_units::dot_bytes_x86_avxvnni, emulated::dot_bytes);
  if (!lacks(IsaLevel::kAvx512Vnni)) {
    expect_equal_dots(real_units::dot_bytes_x86_avx512vnni, emulated::dot_bytes);
  }
#endif
}

// Any bits; numbers around 1 of 24 and of 8 bits; denormals, infinities, the largest and the least.
std::uint32_t any_float(std::mt19937& engine) {
  constexpr std::uint32_t kEdges[] = {0,          0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x00800000,
                                      0x807FFFFF, 0x7F7FFFFF, 0x00000001, 0x3F808000, 0x3F818000, 0x7F7F8000};
  const auto random = static_cast<std::uint32_t>(engine());
  switch (random % 8) {
    case 0:
      return static_cast<std::uint32_t>(engine());
    case 1:
      return kEdges[engine() % std::size(kEdges)];
    case 2:
      return static_cast<std::uint32_t>(engine()) & 0x80FFFFFF;  // about the least normal number
    default:
      return (static_cast<std::uint32_t>(engine()) & 0x83FFFFFF) + 0x3E000000;
  }
}

TEST(RealUnits, ConversionToBf16EqualsTheEmulation) {
#if defined(__x86_64__)
  if (lacks(IsaLevel::kAvx512Bf16)) return;
  std::mt19937 engine(2);
  std::vector<float> x(kLanes);
  std::vector<std::uint16_t> one(kLanes), two(kLanes);
  for (float& value : x) value = std::bit_cast<float>(any_float(engine));
  real_units::to_bf16_x86_avx512bf16(x.data(), one.data(), two.data(), kLanes);
  for (std::size_t i = 0; i < kLanes; ++i) {
    ASSERT_EQ(one[i], emulated::to_bf16(x[i])) << bits(x[i]);
    ASSERT_EQ(two[i], emulated::to_bf16(x[i])) << bits(x[i]);
  }
#endif
}

TEST(RealUnits, DotsOfBf16EqualTheEmulation) {
#if defined(__x86_64__)
  if (lacks(IsaLevel::kAvx512Bf16)) return;
  std::mt19937 engine(3);
  std::vector<float> sum(kLanes), out(kLanes);
  std::vector<std::uint32_t> a(kLanes), b(kLanes);
  for (std::size_t i = 0; i < kLanes; ++i) {
    sum[i] = std::bit_cast<float>(any_float(engine));
    a[i] = pair(any_float(engine) >> 16, any_float(engine) >> 16);
    b[i] = pair(any_float(engine) >> 16, any_float(engine) >> 16);
  }
  real_units::dot_bf16_x86_avx512bf16(sum.data(), a.data(), b.data(), out.data(), kLanes);
  Differences differences;
  for (std::size_t i = 0; i < kLanes; ++i) differences.add(emulated::dot_bf16(sum[i], a[i], b[i]), out[i]);
  differences.print("vdpbf16ps", IsaLevel::kAvx512Bf16);
  EXPECT_EQ(differences.count, 0u);
#endif
}

// Random shapes, and what lies beyond them.
struct TileOperands {
  real_units::TileProduct product{};
  Bytes a, b, sums, emulated_sums;

  template <typename Dword>
  TileOperands(std::mt19937& engine, Dword dword) : a(1024), b(1024), sums(1024) {
    const auto extent = [&] { return static_cast<int>(engine() % 16) + 1; };
    product.rows = extent();
    product.depth = extent();
    product.columns = extent();
    for (Bytes* bytes : {&a, &b, &sums}) {
      for (std::size_t i = 0; i < bytes->size(); i += 4) {
        const std::uint32_t value = dword(bytes == &sums);
        std::memcpy(bytes->data() + i, &value, 4);
      }
    }
    emulated_sums = sums;
    product.a = a.data();
    product.b = b.data();
    product.sums = sums.data();
  }
  template <typename Multiply>
  void emulate(Multiply multiply) {
    configure(config_of(product.rows, product.depth, product.columns));
    emulated::load_tile(0, emulated_sums.data(), 64);
    emulated::load_tile(1, a.data(), 64);
    emulated::load_tile(2, b.data(), 64);
    multiply();
    emulated::store_tile(0, emulated_sums.data(), 64);
    emulated::release_tiles();
  }
};

TEST(RealUnits, TilesEqualTheEmulation) {
#if defined(__x86_64__)
  if (lacks(IsaLevel::kAmx)) return;
  std::mt19937 engine(4);
  Differences differences;
  for (int i = 0; i < 2000; ++i) {
    TileOperands t(engine, [&](bool sum) {
      return sum ? any_float(engine) : pair(any_float(engine) >> 16, any_float(engine) >> 16);
    });
    t.emulate([] { emulated::multiply_bf16_tiles(0, 1, 2); });
    real_units::multiply_bf16_tiles_x86_amx(t.product);
    for (std::size_t at = 0; at < t.sums.size(); at += 4) {
      float real = 0, expected = 0;
      std::memcpy(&real, &t.sums[at], 4);
      std::memcpy(&expected, &t.emulated_sums[at], 4);
      differences.add(expected, real);
    }
    const bool a_signed = i % 2, b_signed = i / 2 % 2;
    TileOperands bytes(engine, [&](bool) { return static_cast<std::uint32_t>(engine()); });
    bytes.emulate([&] { emulated::multiply_byte_tiles(0, 1, 2, a_signed, b_signed); });
    real_units::multiply_byte_tiles_x86_amx(bytes.product, a_signed, b_signed);
    ASSERT_EQ(bytes.sums, bytes.emulated_sums) << "product " << i;
  }
  differences.print("tdpbf16ps", IsaLevel::kAmx);
  EXPECT_EQ(differences.count, 0u);
#endif
}

}  // namespace
}  // namespace tessera::testing
