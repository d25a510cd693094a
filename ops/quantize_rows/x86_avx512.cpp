#include "ops/simd/x86_avx512.h"
#include "ops/quantize_rows/kernels.h"

namespace {

struct Group {
  __m512 x[2];

  explicit Group(const float* from) : x{_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16)} {}
  std::int32_t largest_bits() const {
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    return _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(x[0]), magnitude),
                                                    _mm512_and_si512(_mm512_castps_si512(x[1]), magnitude)));
  }
  void round(float factor, std::int8_t* q, std::int32_t* sums) const {
    for (int h = 0; h < 2; ++h) {
      const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(x[h], _mm512_set1_ps(factor)));
      sums[h] = _mm512_reduce_add_epi32(code);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16 * h), _mm512_cvtepi32_epi8(code));
    }
  }
};

}  // namespace

#include "ops/quantize_rows/generic.h"

namespace tessera::ops {

void quantize_rows_x86_avx512(const float* x, ActivationGroup* y, std::int64_t groups) noexcept {
  quantize_groups(x, y, groups);
}

}  // namespace tessera::ops
