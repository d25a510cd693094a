// F16 and BF16: bytes to numbers and back, exact and scalar.
//
// F16, IEEE binary16:  s eeeee mmmmmmmmmm   bias 15, denormals kept, round to nearest even
// BF16:                s eeeeeeee mmmmmmm   the upper half of a float, round to nearest even
#pragma once

#include <bit>
#include <cstdint>

namespace tessera::quant {

inline float bf16_to_f32(std::uint16_t h) { return std::bit_cast<float>(std::uint32_t{h} << 16); }

// NaN stays NaN: a payload that rounding would carry into Inf is made quiet (spec/qwen3-vl.md 9.4).
inline std::uint16_t f32_to_bf16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(u >> 16 | 64);
  return static_cast<std::uint16_t>((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

inline float f16_to_f32(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t{h} >> 15 << 31, exponent = h >> 10 & 31, mantissa = h & 0x3FF;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

inline std::uint16_t f32_to_f16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(u >> 16 & 0x8000);
  const std::uint32_t magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00 | (u >> 13 & 0x3FF));
  if (magnitude >= 0x47800000u) return sign | 0x7C00;  // 65536 and up, Inf
  if (magnitude >= 0x38800000u) {                      // a carry runs into the exponent, to Inf at last
    const std::uint32_t odd = magnitude >> 13 & 1;
    return static_cast<std::uint16_t>(sign | (magnitude - (112u << 23) + 0xFFF + odd) >> 13);
  }
  // Below 2^-14: a denormal in units of 2^-24.
  const std::uint32_t exponent = magnitude >> 23;
  if (exponent < 102) return sign;  // below 2^-25
  const std::uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u, shift = 126 - exponent;
  const std::uint32_t odd = significand >> shift & 1, half = 1u << (shift - 1);
  return static_cast<std::uint16_t>(sign | (significand + half - 1 + odd) >> shift);
}

}  // namespace tessera::quant
