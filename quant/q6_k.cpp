#include "quant/q6_k.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/fit.h"
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

struct Sums {
  float wxq = 0, wqq = 0;
};

// Codes for `inv` and their sums with weights x^2.
Sums round_codes(const float* x, float inv, std::int8_t* q) {
  Sums sums;
  for (int l = 0; l < 16; ++l) {
    q[l] = static_cast<std::int8_t>(nearest(inv * x[l], -32, 31));
    const float w = x[l] * x[l], code = q[l];
    sums.wxq += w * x[l] * code;
    sums.wqq += w * code * code;
  }
  return sums;
}

// The reference's fit of one sub-block: its scale, and codes in q.
float fit_reference(const float* x, std::int8_t* q) {
  const float largest = largest_magnitude(x, 16);
  std::fill_n(q, 16, std::int8_t{-32});
  if (std::fabs(largest) < kTiny) return 0;
  Sums sums = round_codes(x, -32 / largest, q);
  float scale = sums.wqq != 0 ? sums.wxq / sums.wqq : 0, merit = scale * sums.wxq;
  for (int s = -9; s <= 9; ++s) {
    if (s == 0) continue;
    std::int8_t next[16];
    sums = round_codes(x, -(32 + 0.1f * static_cast<float>(s)) / largest, next);
    if (!(sums.wqq > 0 && sums.wxq * sums.wxq > merit * sums.wqq)) continue;
    std::copy_n(next, 16, q);
    scale = sums.wxq / sums.wqq;
    merit = scale * sums.wxq;
  }
  return scale;
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

// For each sub-block the best 8-bit scale near the fitted one, given d. Returns the block's error.
float choose(const float* x, const float* w, const float* fitted, Plain* block) {
  const float d = f16_to_f32(block->d), units = inverse(d);
  float sum = 0;
  for (int j = 0; j < 16; ++j) {
    const int scale = nearest(fitted[j] * units, -128, 127);
    float least = std::numeric_limits<float>::infinity();
    for (const int s : {scale, scale - 1, scale + 1}) {
      if (s < -128 || s > 127) continue;
      const float error = squared_error(x + 16 * j, w + 16 * j, 16, {d * static_cast<float>(s), 0}, -32, 31);
      if (!(error < least)) continue;
      least = error;
      block->scales[j] = static_cast<std::int8_t>(s);
    }
    sum += least;
  }
  return sum;
}

// d by least squares with the block's other numbers fixed.
std::uint16_t refit(const float* x, const float* w, Plain* block) {
  round_block(x, block);
  double wax = 0, waa = 0;
  for (int l = 0; l < 256; ++l) {
    const double a = block->scales[l / 16] * block->q[l];
    wax += w[l] * a * x[l];
    waa += w[l] * a * a;
  }
  return waa > 0 ? f32_to_f16(static_cast<float>(wax / waa)) : block->d;
}

}  // namespace

void decode(const BlockQ6_K& block, float* x) {
  const float d = f16_to_f32(block.d);
  for (int e = 0; e < 256; ++e) {
    const int n = e / 128, r = e / 32 % 4, l = e % 32;
    const int low = block.ql[64 * n + 32 * (r % 2) + l] >> (r / 2 * 4) & 15;
    const int high = block.qh[32 * n + l] >> (2 * r) & 3;
    x[e] = d * block.scales[e / 16] * static_cast<float>((low | high << 4) - 32);
  }
}

void encode(const float* x, BlockQ6_K* block) {
  Plain plain{};
  float scale[16], largest = 0;
  for (int j = 0; j < 16; ++j) {
    scale[j] = fit_reference(x + 16 * j, plain.q + 16 * j);
    if (std::fabs(scale[j]) > std::fabs(largest)) largest = scale[j];
  }
  if (std::fabs(largest) < kTiny) {
    *block = {};
    return;
  }
  const float units = -128 / largest;
  plain.d = f32_to_f16(1 / units);
  for (int j = 0; j < 16; ++j)
    plain.scales[j] = static_cast<std::int8_t>(nearest(units * scale[j], -128, 127));
  round_block(x, &plain);
  pack(plain, block);
}

void search(const float* x, const float* w, BlockQ6_K* block) {
  Plain best{};
  if (std::all_of(x, x + 256, [x](float v) { return v == x[0]; })) {
    best.d = f32_to_f16(x[0]);  // exact where the number is an f16
    std::fill_n(best.scales, 16, std::int8_t{1});
    std::fill_n(best.q, 256, std::int8_t{1});
    return pack(best, block);
  }
  float fitted[16], largest = 0;
  for (int j = 0; j < 16; ++j) {
    fitted[j] = fit_scale(x + 16 * j, w + 16 * j, 16, -32, 31);
    if (std::fabs(fitted[j]) > std::fabs(largest)) largest = fitted[j];
  }
  float least = std::numeric_limits<float>::infinity();
  for (const float units : {-128.0f, -124.0f, 127.0f}) {
    Plain next{};
    next.d = f32_to_f16(largest / units);
    for (int i = 0; i < 3; ++i) {
      const float error = choose(x, w, fitted, &next);
      if (!(error < least)) break;
      least = error;
      best = next;
      next.d = refit(x, w, &next);
    }
  }
  round_block(x, &best);
  pack(best, block);
}

}  // namespace tessera::quant
