// Puts plain C++ in the place of the intrinsics of units that a machine may lack. A sealed kernel file is
// compiled once more with this header before it and with the instruction sets of a lower level only, so that
// not one of the real instructions can be in it (tests/CMakeLists.txt).
#pragma once

#include <immintrin.h>

#include "tests/ops/emulated/units.h"

namespace {
namespace by_lane {

// to.lane[i] = f(to.lane[i], a.lane[i], b.lane[i]), for lanes of four bytes.
template <typename Lane, typename Sums, typename Operand, typename Function>
inline Sums dots(Sums sums, Operand a, Operand b, Function f) {
  static_assert(sizeof(Sums) == sizeof(Operand));
  constexpr std::size_t kLanes = sizeof(Sums) / 4;
  Lane sum[kLanes];
  std::uint32_t left[kLanes], right[kLanes];
  __builtin_memcpy(sum, &sums, sizeof sums);
  __builtin_memcpy(left, &a, sizeof a);
  __builtin_memcpy(right, &b, sizeof b);
  for (std::size_t i = 0; i < kLanes; ++i) sum[i] = f(sum[i], left[i], right[i]);
  __builtin_memcpy(&sums, sum, sizeof sums);
  return sums;
}

inline __m256i dot_bytes(__m256i sum, __m256i u, __m256i s) {
  return dots<std::int32_t>(sum, u, s, emulated::dot_bytes);
}
#if defined(__AVX512F__)
inline __m512i dot_bytes(__m512i sum, __m512i u, __m512i s) {
  return dots<std::int32_t>(sum, u, s, emulated::dot_bytes);
}
inline __m512 dot_bf16(__m512 sum, __m512bh a, __m512bh b) {
  return dots<float>(sum, a, b, emulated::dot_bf16);
}
inline __m256bh to_bf16(__m512 x) {
  float from[16];
  std::uint16_t to[16];
  __builtin_memcpy(from, &x, sizeof x);
  for (int i = 0; i < 16; ++i) to[i] = emulated::to_bf16(from[i]);
  __m256bh half;
  __builtin_memcpy(&half, to, sizeof half);
  return half;
}
// The second operand goes to the low half.
inline __m512bh to_bf16(__m512 high, __m512 low) {
  const __m256bh halves[2] = {to_bf16(low), to_bf16(high)};
  __m512bh both;
  __builtin_memcpy(&both, halves, sizeof both);
  return both;
}
#endif

}  // namespace by_lane
}  // namespace

#undef _mm256_dpbusd_avx_epi32
#undef _mm256_dpbusd_epi32
#undef _mm512_dpbusd_epi32
#undef _mm512_dpbf16_ps
#undef _mm512_cvtneps_pbh
#undef _mm512_cvtne2ps_pbh
#define _mm256_dpbusd_avx_epi32 by_lane::dot_bytes
#define _mm256_dpbusd_epi32 by_lane::dot_bytes
#define _mm512_dpbusd_epi32 by_lane::dot_bytes
#define _mm512_dpbf16_ps by_lane::dot_bf16
#define _mm512_cvtneps_pbh by_lane::to_bf16
#define _mm512_cvtne2ps_pbh by_lane::to_bf16

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbusd
#undef _tile_dpbuud
#undef _tile_dpbf16ps
#define _tile_loadconfig emulated::load_tile_config
#define _tile_release emulated::release_tiles
#define _tile_zero emulated::zero_tile
#define _tile_loadd(tile, base, stride) emulated::load_tile(tile, base, static_cast<std::int64_t>(stride))
#define _tile_stored(tile, base, stride) emulated::store_tile(tile, base, static_cast<std::int64_t>(stride))
#define _tile_dpbssd(sums, a, b) emulated::multiply_byte_tiles(sums, a, b, true, true)
#define _tile_dpbsud(sums, a, b) emulated::multiply_byte_tiles(sums, a, b, true, false)
#define _tile_dpbusd(sums, a, b) emulated::multiply_byte_tiles(sums, a, b, false, true)
#define _tile_dpbuud(sums, a, b) emulated::multiply_byte_tiles(sums, a, b, false, false)
#define _tile_dpbf16ps emulated::multiply_bf16_tiles
