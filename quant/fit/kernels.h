// The arithmetic of the encoders, for sixteen candidates at a time.
//
// Every number a kernel gives belongs to one lane, 0 … 15, and each lane's sums run in the order of the
// elements, without a fused multiply-add: a lane gives the same bits whatever the width of the registers it
// is computed in, so that all levels give the same bytes (quant/CMakeLists.txt keeps the compiler from
// contracting). What is done with the numbers is decided outside, once for all levels.
//
// Codes: q(x, line) = rne(clamp((x - min) * inverse(scale), low, high)), with inverse() of quant/block.h; NaN
// counts as any code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::quant {

inline constexpr int kLanesPerBatch = 16;

// n elements that all lanes share, or ("columns") n * 16, element l of lane c at 16 * l + c.
struct Elements {
  const float* x;
  const float* w;
  int n;
  float low, high;  // the codes'
};

// Scales to try: batch b, lane c stands for the scale 1 / (steps[16 * b + c] * unit).
struct ScaleGrid {
  const float* steps;
  int batches;
  float unit;
};

// For each lane the best scale of those it has tried, sum wxq / sum wqq with the codes of the tried one, and
// by how much that lowers the error, (sum wxq)^2 / sum wqq. Begins with zeros.
struct ScaleBest {
  alignas(64) float scale[kLanesPerBatch], merit[kLanesPerBatch];
};

// Lines to try over numbers in 0 … range: batch b, lane c stands for a line whose codes' ends lie low[16 * b
// + c] and high[16 * b + c] steps of range / elements.high inside the range.
struct LineGrid {
  const float* low;
  const float* high;
  int batches;
  float range;
};
struct LineSums {
  float w, wx;
  float highest_min;
};

// For each lane the best line of those it has tried: with the codes of the tried one the best of those with a
// min up to highest_min; and by how much that lowers the error below sum wx^2. Begins with zeros.
struct LineBest {
  alignas(64) float scale[kLanesPerBatch], min[kLanesPerBatch], gain[kLanesPerBatch];
};

// In: lines. Out: sum w * (x - min - scale * q)^2.
struct ErrorBatch {
  alignas(64) float scale[kLanesPerBatch], min[kLanesPerBatch];
  alignas(64) float error[kLanesPerBatch];
};

// Lines d * s, -(dmin * m).
struct StepBatch {
  float d, dmin;
  alignas(64) float s[kLanesPerBatch], m[kLanesPerBatch];
};

// For each lane the line with the smallest error of those it has tried, that error, and the sums for least
// squares. Begins with errors of infinity.
struct StepBest {
  alignas(64) float error[kLanesPerBatch], s[kLanesPerBatch], m[kLanesPerBatch];
  alignas(64) float wq[kLanesPerBatch], wqq[kLanesPerBatch], wxq[kLanesPerBatch];
};

// Eight sub-blocks with a fitted line each and the sums for its codes, and a dmin for all of them. In: a d
// for each lane. Out: what it adds to the error that scales and mins become the nearest d * s and dmin * m, s
// and m in 0 … 63, where the codes stay.
struct StepModel {
  float scale[8], min[8];
  float w[8], wq[8], wqq[8];
  float dmin;
  alignas(64) float d[kLanesPerBatch], cost[kLanesPerBatch];
};

// The reference's fit of a sub-block of Q4_K and Q5_K (quant/k_min.h): after one try at
// (max - min) / levels, `tries` + 1 more at (max - min) / (levels + first + 0.1 * s), s = 0, 1, …; each
// followed by weighted least squares.
struct KMinRule {
  int levels;
  float first;
  int tries;
};

// x: eight columns of 32 (element l of column j at 8 * l + j). q as x.
struct KMinFits {
  alignas(64) float scale[8], min[8];
  alignas(64) float q[32 * 8];
};

// x: sixteen columns of 16. q as x. The reference's fit of the sub-blocks of Q6_K (quant/q6_k.h).
struct Q6Fits {
  alignas(64) float scale[16];
  alignas(64) float q[16 * 16];
};

struct FitKernels {
  void (*try_scales)(const Elements& elements, const ScaleGrid& grid, ScaleBest* best) noexcept;
  void (*try_lines)(const Elements& elements, const LineSums& sums, const LineGrid& grid,
                    LineBest* best) noexcept;
  // Each lane tries `rounds` times the best that it has.
  void (*settle_scales)(const Elements& elements, int rounds, ScaleBest* best) noexcept;
  void (*settle_lines)(const Elements& elements, const LineSums& sums, int rounds, LineBest* best) noexcept;
  void (*errors)(const Elements& elements, ErrorBatch* batch) noexcept;
  void (*try_steps)(const Elements& columns, const StepBatch& batch, StepBest* best) noexcept;
  void (*cost_steps)(StepModel* model) noexcept;
  void (*fit_k_min)(const float* x, const KMinRule& rule, KMinFits* fits) noexcept;
  void (*fit_q6)(const float* x, Q6Fits* fits) noexcept;
};

#define TESSERA_KERNEL(level, function) FitKernels function() noexcept;
#include "quant/fit/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::quant
