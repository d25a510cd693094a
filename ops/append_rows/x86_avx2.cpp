#include <immintrin.h>

#include "ops/append_rows/kernels.h"
#include "ops/simd/blocks_x86_avx2.h"

namespace {

constexpr std::int64_t kBlock = 32, kBlockBytes = 34;

// Eight halves.
__m128i to_f16(__m256 x) { return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }

// Eight bf16, as quant/half.h rounds them.
__m128i to_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x), upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(64));
  const __m256i words = _mm256_blendv_epi8(rounded, quiet, nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// A row of halves, eight at a time.
template <typename ToHalves>
void append_halves(const float* x, std::int64_t n, std::byte* y, ToHalves to_halves) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + 2 * i), to_halves(_mm256_loadu_ps(x + i)));
  }
  if (i == n) return;
  float rest[8] = {};
  __builtin_memcpy(rest, x + i, static_cast<std::size_t>(n - i) * sizeof(float));
  const __m128i halves = to_halves(_mm256_loadu_ps(rest));
  __builtin_memcpy(y + 2 * i, &halves, static_cast<std::size_t>(n - i) * 2);
}

// To the nearest integer, halves away from zero.
__m256i round_away(__m256 x) {
  const __m256 whole = _mm256_round_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f));
  const __m256 rest = _mm256_xor_ps(_mm256_sub_ps(x, whole), sign);
  const __m256 up = _mm256_cmp_ps(rest, _mm256_set1_ps(0.5f), _CMP_GE_OQ);
  const __m256 one = _mm256_or_ps(_mm256_set1_ps(1.0f), sign);
  return _mm256_cvtps_epi32(_mm256_add_ps(whole, _mm256_and_ps(up, one)));
}

void encode_block(const float* from, std::byte* y) {
  __m256 x[4];
  for (int i = 0; i < 4; ++i) x[i] = _mm256_loadu_ps(from + 8 * i);
  const std::int32_t bits = largest_bits(x);
  constexpr std::int32_t kInfinite = 0x7F800000;
  const float d = __builtin_bit_cast(float, bits) / 127;
  const float inverse = 1 / d, factor = inverse - inverse == 0 ? inverse : 0;
  std::uint16_t half = 0x7E00;  // NaN
  __m256i codes = _mm256_setzero_si256();
  if (bits < kInfinite) {
    half = static_cast<std::uint16_t>(_mm_cvtsi128_si32(to_f16(_mm256_set1_ps(d))));
    __m256i q[4];
    for (int i = 0; i < 4; ++i) q[i] = round_away(_mm256_mul_ps(x[i], _mm256_set1_ps(factor)));
    codes = to_bytes(q);
  }
  __builtin_memcpy(y, &half, 2);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + 2), codes);
}

}  // namespace

namespace tessera::ops {

void append_rows_f16_x86_avx2(const float* x, std::int64_t n, std::byte* y) noexcept {
  append_halves(x, n, y, to_f16);
}

void append_rows_bf16_x86_avx2(const float* x, std::int64_t n, std::byte* y) noexcept {
  append_halves(x, n, y, to_bf16);
}

void append_rows_q8_0_x86_avx2(const float* x, std::int64_t n, std::byte* y) noexcept {
  for (std::int64_t i = 0; i < n; i += kBlock, y += kBlockBytes) encode_block(x + i, y);
}

}  // namespace tessera::ops
