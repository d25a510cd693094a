#include <immintrin.h>

#include "tests/ops/emulated/real_units.h"

namespace real_units {

void dot_bf16_x86_avx512bf16(const float* sum, const std::uint32_t* a, const std::uint32_t* b, float* out,
                             std::size_t count) {
  for (std::size_t i = 0; i < count; i += 16) {
    __m512bh left, right;
    __builtin_memcpy(&left, a + i, sizeof left);
    __builtin_memcpy(&right, b + i, sizeof right);
    _mm512_storeu_ps(out + i, _mm512_dpbf16_ps(_mm512_loadu_ps(sum + i), left, right));
  }
}

void to_bf16_x86_avx512bf16(const float* x, std::uint16_t* one, std::uint16_t* two, std::size_t count) {
  for (std::size_t i = 0; i < count; i += 16) {
    const __m512 from = _mm512_loadu_ps(x + i);
    const __m256bh half = _mm512_cvtneps_pbh(from);
    __builtin_memcpy(one + i, &half, sizeof half);
    // The second operand goes to the low half; the other half is of zeros.
    const __m512bh low = _mm512_cvtne2ps_pbh(_mm512_setzero_ps(), from);
    __builtin_memcpy(two + i, &low, sizeof half);
  }
}

}  // namespace real_units
