// Rows of a product with block weights, quantized: what the op quantize_rows writes and the kernels read.
//
// A row [K], K a multiple of 32, is K / 32 groups one after the other; rows follow without gaps. As a value
// of the graph it is i32 [..., 12 K / 32].
//
//   dword 0    1     2         3         4 … 11
//         d    sum   sums[0]   sums[1]   q[0] … q[31]     d and sum f32, sums i32, q i8
//
//   x[i] ~ d * q[i],   sums[h] = q[16 h] + … + q[16 h + 15],   sum = d * (sums[0] + sums[1])
//
// Rounding, with a = max |x| of the group:
//   a NaN or Inf     d = sum = NaN (0x7FC00000), all q = 0: every output of the row becomes NaN
//   a < 2^-112       d = sum = 0, all q = 0
//   otherwise        d = a / 127, q = round(x * (127 / a)), halves to even; each operation in f32
// |q| is at most 127. Every level writes the same bytes.
#pragma once

#include <cstdint>

namespace tessera::ops {

inline constexpr int kGroupElements = 32;

struct ActivationGroup {
  float d, sum;
  std::int32_t sums[2];
  std::int8_t q[kGroupElements];
};
inline constexpr int kGroupDwords = 12;
static_assert(sizeof(ActivationGroup) == 4 * kGroupDwords);

}  // namespace tessera::ops
