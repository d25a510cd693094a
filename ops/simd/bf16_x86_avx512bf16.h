// bf16 beside vectors of f32: AVX-512 BF16. Rounds to nearest even; denormals become zeros, whatever the mode
// of the thread.
#pragma once

#include "ops/simd/pairs_x86_avx512bf16.h"

namespace {

// low[0 .. 15], high[0 .. 15]
inline void store_bf16(F32 low, F32 high, std::uint8_t* to) {
  _mm512_storeu_si512(to, Pairs::rounded(low, high).v);
}

// first[0], second[0], first[1], second[1] ...
inline void store_bf16_pairs(F32 first, F32 second, std::uint8_t* to) {
  _mm512_storeu_si512(to, Pairs::interleaved(first, second).v);
}

}  // namespace
