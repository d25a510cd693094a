#include <immintrin.h>

#include "tests/ops/emulated/real_units.h"

namespace real_units {

void dot_bytes_x86_avxvnni(const std::int32_t* sum, const std::uint32_t* u, const std::uint32_t* s,
                           std::int32_t* out, std::size_t count) {
  const auto load = [](const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); };
  for (std::size_t i = 0; i < count; i += 8) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        _mm256_dpbusd_avx_epi32(load(sum + i), load(u + i), load(s + i)));
  }
}

}  // namespace real_units
