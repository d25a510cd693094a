// exp, exp2, sigmoid, SiLU, erf and GELU on vectors of either width. Included by sealed files after the
// header of their level.
#pragma once

namespace {

constexpr float kLog2E = 1.44269504f;

// e^x: x = n ln2 + r, |r| <= ln2 / 2, and a polynomial of degree 6 in r (Cephes expf, Moshier 1989).
// Relative error below 2e-7 for x in [-87.3, 88.3]; below that 0 or the value at -87.3 (1.2e-38) comes out,
// above it the value at 88.3. e^0 is 1 and e^NaN is NaN.
inline F32 exp(F32 x) {
  x = F32::min(F32::all(88.37626f), F32::max(F32::all(-87.33654f), x));
  const F32 n = F32::round(x * F32::all(kLog2E));
  // ln2 in two parts, so that n * high is exact.
  F32 r = F32::fma(n, F32::all(-0.693359375f), x);
  r = F32::fma(n, F32::all(2.12194440e-4f), r);
  F32 p = F32::all(1.9875691500e-4f);
  p = F32::fma(p, r, F32::all(1.3981999507e-3f));
  p = F32::fma(p, r, F32::all(8.3334519073e-3f));
  p = F32::fma(p, r, F32::all(4.1665795894e-2f));
  p = F32::fma(p, r, F32::all(1.6666665459e-1f));
  p = F32::fma(p, r, F32::all(5.0000001201e-1f));
  p = F32::fma(p, r * r, r + F32::all(1.0f));
  return F32::scaled(p, n);
}

// 2^x for x up to 127: x = n + r, |r| <= 1/2, and a polynomial of degree 5 in r with the least largest
// relative error among those that are 1 at 0. Relative error below 2e-7 from -126 on; below that the value at
// -126 (1.2e-38) comes out. 2^0 is 1 and 2^NaN is NaN.
inline F32 exp2(F32 x) {
  x = F32::max(F32::all(-126.0f), x);
  const F32 n = F32::round(x), r = x - n;
  F32 p = F32::all(1.32647273e-3f);
  p = F32::fma(p, r, F32::all(9.67151299e-3f));
  p = F32::fma(p, r, F32::all(5.55073358e-2f));
  p = F32::fma(p, r, F32::all(2.40222424e-1f));
  p = F32::fma(p, r, F32::all(6.93147004e-1f));
  p = F32::fma(p, r, F32::all(1.0f));
  return F32::scaled(p, n);
}

// 1 / (1 + e^-x), absolute error below 3e-7.
inline F32 sigmoid(F32 x) { return F32::all(1.0f) / (F32::all(1.0f) + exp(F32::zero() - x)); }

inline F32 silu_mul(F32 gate, F32 up) { return gate * sigmoid(gate) * up; }

// erf(x), absolute error below 5e-7: Abramowitz and Stegun 7.1.26.
inline F32 erf(F32 x) {
  const F32 a = F32::abs(x);
  const F32 t = F32::all(1.0f) / F32::fma(a, F32::all(0.3275911f), F32::all(1.0f));
  F32 p = F32::all(1.061405429f);
  p = F32::fma(p, t, F32::all(-1.453152027f));
  p = F32::fma(p, t, F32::all(1.421413741f));
  p = F32::fma(p, t, F32::all(-0.284496736f));
  p = F32::fma(p, t, F32::all(0.254829592f));
  const F32 tail = p * t * exp(F32::zero() - a * a);
  return F32::copy_sign(F32::all(1.0f) - tail, x);
}

// The formulas and bounds: ops/gelu/kernels.h.
inline F32 gelu_erf(F32 x) {
  const F32 half = x * F32::all(0.5f);
  return F32::fma(half, erf(x * F32::all(0.707106781f)), half);
}

inline F32 gelu_tanh(F32 x) {
  // 2 sqrt(2 / pi) x (1 + 0.044715 x^2)
  const F32 twice_u = x * F32::fma(x * x, F32::all(0.0713548163f), F32::all(1.59576912f));
  return x * sigmoid(twice_u);
}

}  // namespace
