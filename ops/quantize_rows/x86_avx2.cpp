#include "ops/simd/x86_avx2.h"
#include "ops/quantize_rows/kernels.h"
#include "ops/simd/blocks_x86_avx2.h"

namespace {

struct Group {
  __m256 x[4];

  explicit Group(const float* from) {
    for (int i = 0; i < 4; ++i) x[i] = _mm256_loadu_ps(from + 8 * i);
  }
  std::int32_t largest_bits() const { return ::largest_bits(x); }
  void round(float factor, std::int8_t* q, std::int32_t* sums) const {
    __m256i code[4];
    for (int i = 0; i < 4; ++i) code[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], _mm256_set1_ps(factor)));
    for (int h = 0; h < 2; ++h) sums[h] = sum(_mm256_add_epi32(code[2 * h], code[2 * h + 1]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), to_bytes(code));
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
