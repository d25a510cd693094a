// Blocks of 32 floats in four vectors, on their way to bytes: AVX2.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

// Bits of the largest magnitude; NaN is above Inf, and that above all numbers.
inline std::int32_t largest_bits(const __m256 (&x)[4]) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i eight = _mm256_setzero_si256();
  for (const __m256& v : x) {
    eight = _mm256_max_epi32(eight, _mm256_and_si256(_mm256_castps_si256(v), magnitude));
  }
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1));
  return _mm_cvtsi128_si32(four);
}

// Integers within a byte, as bytes in their order.
inline __m256i to_bytes(const __m256i (&codes)[4]) {
  // Packing works in halves of 128 bits and leaves dwords 0 2 4 6 1 3 5 7.
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]), _mm256_packs_epi32(codes[2], codes[3]));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

}  // namespace
