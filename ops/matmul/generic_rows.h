// Products over weights as they lie in a file, lanes along k, on vectors of either width.
#pragma once

namespace {

struct F32Rows {
  using Element = float;
  static F32 get(const float* p) { return F32::load(p); }
};
struct F16Rows {
  using Element = std::uint16_t;
  static F32 get(const std::uint16_t* p) { return F32::load_f16(p); }
};
struct Bf16Rows {
  using Element = std::uint16_t;
  static F32 get(const std::uint16_t* p) { return F32::load_bf16(p); }
};

// The last n < kLanes elements, zeros behind them.
template <typename Format>
F32 get_rest(const typename Format::Element* p, std::int64_t n) {
  typename Format::Element rest[F32::kLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) rest[i] = p[i];
  return Format::get(rest);
}

// kRows x kColumns outputs from row m and column n of the tile on. An output's sum is the same whatever the
// two numbers are.
template <typename Format, int kRows, int kColumns>
void dot_block(const tessera::ops::MatmulTile& t, std::int64_t m, std::int64_t n) {
  using Element = typename Format::Element;
  const float* x[kRows];
  const Element* w[kColumns];
  F32 sum[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) x[r] = static_cast<const float*>(t.x) + (m + r) * t.x_stride;
  for (int c = 0; c < kColumns; ++c) {
    w[c] = static_cast<const Element*>(t.w) + (n + c) * (t.w_stride / static_cast<int>(sizeof(Element)));
    for (int r = 0; r < kRows; ++r) sum[r][c] = F32::zero();
  }
  auto add = [&](const F32(&input)[kRows], const F32(&weight)[kColumns]) {
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kColumns; ++c) sum[r][c] = F32::fma(input[r], weight[c], sum[r][c]);
    }
  };
  F32 input[kRows], weight[kColumns];
  std::int64_t k = 0;
  for (; k + F32::kLanes <= t.k; k += F32::kLanes) {
    for (int r = 0; r < kRows; ++r) input[r] = F32::load(x[r] + k);
    for (int c = 0; c < kColumns; ++c) weight[c] = Format::get(w[c] + k);
    add(input, weight);
  }
  if (k < t.k) {
    for (int r = 0; r < kRows; ++r) input[r] = F32::load_n(x[r] + k, t.k - k);
    for (int c = 0; c < kColumns; ++c) weight[c] = get_rest<Format>(w[c] + k, t.k - k);
    add(input, weight);
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      const float bias = t.bias ? t.bias[n + c] : 0.0f;
      t.y[(m + r) * t.y_stride + n + c] = sum[r][c].sum() + bias;
    }
  }
}

template <typename Format, int kColumns>
void dot_columns(const tessera::ops::MatmulTile& t, std::int64_t n) {
  constexpr int kRows = F32::kRegisters / 8;
  std::int64_t m = 0;
  for (; m + kRows <= t.rows; m += kRows) dot_block<Format, kRows, kColumns>(t, m, n);
  for (; m < t.rows; ++m) dot_block<Format, 1, kColumns>(t, m, n);
}

template <typename Format>
void matmul_rows(const tessera::ops::MatmulTile& t) {
  constexpr int kColumns = 4;
  std::int64_t n = 0;
  for (; n + kColumns <= t.columns; n += kColumns) dot_columns<Format, kColumns>(t, n);
  for (; n < t.columns; ++n) dot_columns<Format, 1>(t, n);
}

}  // namespace
