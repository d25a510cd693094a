#include "ops/simd/x86_avx2.h"
#include "ops/quantize_rows/kernels.h"

namespace {

struct Group {
  __m256 x[4];

  explicit Group(const float* from) {
    for (int i = 0; i < 4; ++i) x[i] = _mm256_loadu_ps(from + 8 * i);
  }
  std::int32_t largest_bits() const {
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
  void round(float factor, std::int8_t* q, std::int32_t* sums) const {
    __m256i code[4];
    for (int i = 0; i < 4; ++i) code[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], _mm256_set1_ps(factor)));
    for (int h = 0; h < 2; ++h) sums[h] = sum(_mm256_add_epi32(code[2 * h], code[2 * h + 1]));
    // Packing works in halves of 128 bits and leaves dwords 0 2 4 6 1 3 5 7.
    const __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(code[0], code[1]), _mm256_packs_epi32(code[2], code[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_permutevar8x32_epi32(bytes, order));
  }

 private:
  static std::int32_t sum(__m256i v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1));
    return _mm_cvtsi128_si32(four);
  }
};

}  // namespace

#include "ops/quantize_rows/generic.h"

namespace tessera::ops {

void quantize_rows_x86_avx2(const float* x, ActivationGroup* y, std::int64_t groups) noexcept {
  quantize_groups(x, y, groups);
}

}  // namespace tessera::ops
