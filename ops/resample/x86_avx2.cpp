#include <immintrin.h>

#include "ops/resample/generic.h"

namespace tessera::ops {
namespace {

// Sums of 32 samples, in order.
void store_samples(const __m256i* sums, std::uint8_t* y) {
  __m256i v[4];
  for (int i = 0; i < 4; ++i) v[i] = _mm256_srai_epi32(sums[i], kResampleFractionBits);
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  // Packing goes by halves of a register.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), _mm256_permutevar8x32_epi32(bytes, order));
}

void samples_32(const ResampleAcrossRows& row, std::int64_t i) {
  __m256i sums[4];
  for (__m256i& sum : sums) sum = _mm256_set1_epi32(kResampleHalf);
  for (std::int64_t k = 0; k < row.taps; ++k) {
    const std::uint8_t* x = row.x + k * row.pitch + i;
    const __m256i weight = _mm256_set1_epi32(row.weights[k]);
    for (int j = 0; j < 4; ++j) {
      const __m256i samples =
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + 8 * j)));
      sums[j] = _mm256_add_epi32(sums[j], _mm256_mullo_epi32(samples, weight));
    }
  }
  store_samples(sums, row.y + i);
}

}  // namespace

void resample_across_rows_x86_avx2(const ResampleAcrossRows& row) noexcept {
  constexpr std::int64_t kStep = 32;
  if (row.n < kStep) return samples_across_rows(row);
  for (std::int64_t i = 0; i + kStep <= row.n; i += kStep) samples_32(row, i);
  samples_32(row, row.n - kStep);
}

// Two taps at once: eight bytes hold two pixels, whose six products are added up side by side.
void resample_along_row_x86_avx2(const ResampleAlongRow& row) noexcept {
  constexpr std::int64_t kBytes = 8;
  const __m256i spread = _mm256_setr_epi32(0, 0, 0, 1, 1, 1, 1, 1);
  const std::int64_t pairs = row.taps / 2 * 2;
  // The last pixel is left out, too: four bytes are stored.
  const auto fits = [&](std::int64_t o) {
    return o + 1 < row.n &&
           (row.first[o] + row.taps - 1) * kResampleChannels + kBytes <= row.pixels * kResampleChannels;
  };
  for (std::int64_t o = 0; o < row.n; ++o) {
    if (!fits(o)) {
      pixels_along_row(row, o, o + 1);
      continue;
    }
    const std::uint8_t* x = row.x + row.first[o] * kResampleChannels;
    const std::int32_t* weights = row.weights + o * row.taps;
    __m256i sums = _mm256_setzero_si256();
    const auto add = [&](__m128i two_weights, std::int64_t k) {
      const __m256i samples =
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + k * kResampleChannels)));
      const __m256i weight = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(two_weights), spread);
      sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(samples, weight));
    };
    for (std::int64_t k = 0; k < pairs; k += 2)
      add(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(weights + k)), k);
    if (pairs < row.taps) add(_mm_cvtsi32_si128(weights[pairs]), pairs);
    const __m128i low = _mm256_castsi256_si128(sums);
    const __m128i second = _mm_alignr_epi8(_mm256_extracti128_si256(sums, 1), low, 12);
    const __m128i total = _mm_add_epi32(_mm_add_epi32(low, second), _mm_set1_epi32(kResampleHalf));
    const __m128i words = _mm_packs_epi32(_mm_srai_epi32(total, kResampleFractionBits), _mm_setzero_si128());
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    __builtin_memcpy(row.y + o * kResampleChannels, &bytes, sizeof bytes);
  }
}

}  // namespace tessera::ops
