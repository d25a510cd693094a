#include "quant/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tessera::quant {
namespace {

float bits(std::uint32_t u) { return std::bit_cast<float>(u); }

TEST(F16, EveryCodeSurvivesTheRoundTrip) {
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const auto half = static_cast<std::uint16_t>(code);
    const float value = f16_to_f32(half);
    const std::uint32_t exponent = code >> 10 & 31, mantissa = code & 0x3FF;
    if (exponent == 31 && mantissa != 0) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
      continue;
    }
    EXPECT_EQ(f32_to_f16(value), half);
    const double scale = exponent == 0 ? std::ldexp(mantissa, -24)
                                       : std::ldexp(1024 + mantissa, static_cast<int>(exponent) - 25);
    const double expected = exponent == 31 ? std::numeric_limits<double>::infinity() : scale;
    EXPECT_EQ(double{value}, code >> 15 ? -expected : expected) << code;
  }
}

// Every pair of neighbours: what lies between them goes to the nearer, the middle to the even one.
TEST(F16, RoundsToTheNearestAndTiesToEven) {
  for (std::uint32_t code = 0; code < 0x7BFF; ++code) {
    const auto low = static_cast<std::uint16_t>(code), high = static_cast<std::uint16_t>(code + 1);
    const float middle = (f16_to_f32(low) + f16_to_f32(high)) / 2;  // exact
    EXPECT_EQ(f32_to_f16(middle), code % 2 ? high : low) << code;
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), low) << code;
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), high) << code;
    EXPECT_EQ(f32_to_f16(-middle), (code % 2 ? high : low) | 0x8000) << code;
  }
}

TEST(F16, OverflowsToInfinityFromHalfAStepAboveTheLargest) {
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xFC00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::infinity()), 0x7C00);
}

TEST(F16, NaNStaysNaN) {
  for (const std::uint32_t u : {0x7F800001u, 0x7FC00000u, 0xFFFFFFFFu, 0xFF800001u}) {
    const std::uint16_t half = f32_to_f16(bits(u));
    EXPECT_TRUE(std::isnan(f16_to_f32(half))) << u;
    EXPECT_EQ(half >> 15, u >> 31) << u;
  }
}

TEST(F16, TinyValuesBecomeSignedZero) {
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);
  EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)), 1);
  EXPECT_EQ(f32_to_f16(-1e-30f), 0x8000);
}

TEST(Bf16, EveryCodeSurvivesTheRoundTrip) {
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const auto half = static_cast<std::uint16_t>(code);
    const float value = bf16_to_f32(half);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(value), code << 16);
    if (std::isnan(value)) {
      EXPECT_EQ(f32_to_bf16(value), half | 64);
    } else {
      EXPECT_EQ(f32_to_bf16(value), half);
    }
  }
}

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  for (std::uint32_t code = 0; code < 0x7F80; ++code) {
    const auto low = static_cast<std::uint16_t>(code), high = static_cast<std::uint16_t>(code + 1);
    const std::uint32_t middle = code << 16 | 0x8000;
    EXPECT_EQ(f32_to_bf16(bits(middle)), code % 2 ? high : low) << code;
    EXPECT_EQ(f32_to_bf16(bits(middle - 1)), low) << code;
    EXPECT_EQ(f32_to_bf16(bits(middle + 1)), high) << code;
  }
}

// spec/qwen3-vl.md 9.4.
TEST(Bf16, GivesTheCodesOfTheSpecification) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3F80);
  EXPECT_EQ(f32_to_bf16(1.01171875f), 0x3F82);
  EXPECT_EQ(f32_to_bf16(3.14159274f), 0x4049);
  EXPECT_EQ(f32_to_bf16(-0.1f), 0xBDCD);
}

TEST(Bf16, NaNStaysNaN) {
  EXPECT_EQ(f32_to_bf16(bits(0x7F800001)), 0x7FC0);
  EXPECT_EQ(f32_to_bf16(bits(0xFFFFFFFF)), 0xFFFF);
}

}  // namespace
}  // namespace tessera::quant
