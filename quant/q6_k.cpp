#include "quant/q6_k.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/fit/fit.h"
#include "quant/half.h"

namespace tessera::quant {
namespace {

constexpr float kTiny = 1e-15f;

// The block with its codes one in a byte, without the offset of 32.
struct Plain {
  std::int8_t q[256];
  std::int8_t scales[16];
  std::uint16_t d;
};

void pack(const Plain& from, BlockQ6_K* to) {
  std::copy_n(from.scales, 16, to->scales);
  to->d = from.d;
  for (int n = 0; n < 2; ++n) {
    const auto code = [&](int r, int l) { return from.q[128 * n + 32 * r + l] + 32; };
    for (int l = 0; l < 32; ++l) {
      int high = 0;
      for (int r = 0; r < 4; ++r) high |= (code(r, l) >> 4) << 2 * r;
      to->qh[32 * n + l] = static_cast<std::uint8_t>(high);
      for (int r = 0; r < 2; ++r)
        to->ql[64 * n + 32 * r + l] =
            static_cast<std::uint8_t>((code(r, l) & 15) | (code(r + 2, l) & 15) << 4);
    }
  }
}

// The sub-blocks, one in a column.
void transpose(const float* x, float* columns) {
  for (int j = 0; j < 16; ++j) {
    for (int l = 0; l < 16; ++l) columns[16 * l + j] = x[16 * j + l];
  }
}

// Codes for d and the scales that stand in the block; those with d * scale = 0 stay.
void round_block(const float* x, Plain* block) {
  const float d = f16_to_f32(block->d);
  for (int j = 0; j < 16; ++j) {
    const float scale = d * block->scales[j];
    if (scale == 0) continue;
    for (int l = 16 * j; l < 16 * j + 16; ++l)
      block->q[l] = static_cast<std::int8_t>(nearest(x[l] / scale, -32, 31));
  }
}

// The search over one block: from fitted scales to d and 8-bit numbers.
class Search {
 public:
  Search(const FitKernels& kernels, const float* x, const float* w)
      : kernels_(kernels), columns_{x_, w_, 16, -32, 31} {
    transpose(x, x_);
    transpose(w, w_);
    for (int j = 0; j < 16; ++j) {
      fitted_[j] = fit_scale(kernels, {x + 16 * j, w + 16 * j, 16, -32, 31});
      if (std::fabs(fitted_[j]) > std::fabs(largest_)) largest_ = fitted_[j];
    }
  }

  void run(Plain* block) {
    float least = std::numeric_limits<float>::infinity();
    for (const float units : {-128.0f, -124.0f, 127.0f}) {
      std::uint16_t d = f32_to_f16(largest_ / units);
      for (int i = 0; i < 3; ++i) {
        StepBest best;
        const float error = choose(d, &best);
        if (!(error < least)) break;
        least = error;
        block->d = d;
        for (int j = 0; j < 16; ++j) block->scales[j] = static_cast<std::int8_t>(best.s[j]);
        d = refit(d, best);
      }
    }
  }

 private:
  // For each sub-block the best 8-bit scale near the fitted one, given d. Returns the block's error.
  float choose(std::uint16_t half, StepBest* best) const {
    StepBatch batch{};
    batch.d = f16_to_f32(half);
    const float units = inverse(batch.d);
    std::fill_n(best->error, 16, std::numeric_limits<float>::infinity());
    for (const float step : {0.0f, -1.0f, 1.0f}) {
      for (int j = 0; j < 16; ++j)
        batch.s[j] = clamp(round_even(clamp(fitted_[j] * units, -128, 127)) + step, -128, 127);
      kernels_.try_steps(columns_, batch, best);
    }
    float sum = 0;
    for (const float error : best->error) sum += error;
    return sum;
  }

  // d by least squares with the block's other numbers fixed.
  static std::uint16_t refit(std::uint16_t d, const StepBest& best) {
    double wax = 0, waa = 0;
    for (int j = 0; j < 16; ++j) {
      const double s = best.s[j];
      wax += s * best.wxq[j];
      waa += s * s * best.wqq[j];
    }
    return waa > 0 ? f32_to_f16(static_cast<float>(wax / waa)) : d;
  }

  const FitKernels& kernels_;
  Elements columns_;
  float x_[256], w_[256];
  float fitted_[16], largest_ = 0;
};

}  // namespace

void decode(const BlockQ6_K& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int e = 0; e < 256; e += 16) {
    const int n = e / 128, r = e / 32 % 4;
    const std::uint8_t* const ql = block.ql + 64 * n + 32 * (r % 2) + e % 32;
    const std::uint8_t* const qh = block.qh + 32 * n + e % 32;
    const float scale = d * block.scales[e / 16];
    for (int l = 0; l < 16; ++l) {
      const int low = ql[l] >> (r / 2 * 4) & 15, high = qh[l] >> (2 * r) & 3;
      x[e + l] = scale * static_cast<float>((low | high << 4) - 32);
    }
  }
}

void encode(const FitKernels& kernels, const float* x, BlockQ6_K* block) {
  float columns[256];
  transpose(x, columns);
  Q6Fits fits;
  kernels.fit_q6(columns, &fits);
  const float largest = largest_magnitude(fits.scale, 16);
  if (std::fabs(largest) < kTiny) {
    *block = {};
    return;
  }
  Plain plain{};
  for (int e = 0; e < 256; ++e) plain.q[e] = static_cast<std::int8_t>(fits.q[16 * (e % 16) + e / 16]);
  const float units = -128 / largest;
  plain.d = f32_to_f16(1 / units);
  for (int j = 0; j < 16; ++j)
    plain.scales[j] = static_cast<std::int8_t>(nearest(units * fits.scale[j], -128, 127));
  round_block(x, &plain);
  pack(plain, block);
}

void search(const FitKernels& kernels, const float* x, const float* w, BlockQ6_K* block) {
  Plain best{};
  if (std::all_of(x, x + 256, [x](float v) { return v == x[0]; })) {
    best.d = f32_to_f16(x[0]);  // exact where the number is an f16
    std::fill_n(best.scales, 16, std::int8_t{1});
    std::fill_n(best.q, 256, std::int8_t{1});
    return pack(best, block);
  }
  Search(kernels, x, w).run(&best);
  round_block(x, &best);
  pack(best, block);
}

}  // namespace tessera::quant
