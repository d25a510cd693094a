#include <immintrin.h>

#include "tests/ops/emulated/real_units.h"

namespace real_units {

void dot_bytes_x86_avx512vnni(const std::int32_t* sum, const std::uint32_t* u, const std::uint32_t* s,
                              std::int32_t* out, std::size_t count) {
  for (std::size_t i = 0; i < count; i += 16) {
    _mm512_storeu_si512(out + i, _mm512_dpbusd_epi32(_mm512_loadu_si512(sum + i), _mm512_loadu_si512(u + i),
                                                     _mm512_loadu_si512(s + i)));
  }
}

}  // namespace real_units
