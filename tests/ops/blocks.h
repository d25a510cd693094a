// Weights in block formats and quantized activations for tests, from quant's decoders and the written rule.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "ops/matmul/activations.h"
#include "quant/formats.h"
#include "tests/ops/op_test.h"
#include "tests/ops/tiles.h"

namespace tessera::testing {

constexpr DType kBlockDTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                  DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// Where the blocks of quant/FORMAT.h have their f16 numbers, their bytes of scales and their codes.
struct BlockBytes {
  std::size_t bytes, d, m, scales, scale_bytes;  // m = d where there is none
  bool k_quants, has_min;

  explicit BlockBytes(DType dtype) : bytes(static_cast<std::size_t>(info(dtype).block_bytes)) {
    const bool six = dtype == DType::kQ6_K;
    has_min =
        dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K || dtype == DType::kQ5_K;
    k_quants = info(dtype).block_elems == 256;
    d = six ? 208 : 0;
    m = has_min ? 2 : d;
    scales = six ? 192 : 4;
    scale_bytes = six ? 16 : k_quants ? 12 : 0;
  }
  bool is_code(std::size_t i) const {
    const auto within = [i](std::size_t begin, std::size_t count) { return i >= begin && i < begin + count; };
    return !within(d, 2) && !within(m, 2) && !within(scales, scale_bytes);
  }
};

// A matrix of blocks as a file has them, `shift` bytes behind an aligned address.
struct BlockWeight {
  DType dtype;
  std::int64_t n, k;
  std::size_t shift;
  std::vector<std::uint8_t> bytes;

  BlockWeight(DType type, std::int64_t rows, std::int64_t columns, std::size_t offset = 0)
      : dtype(type),
        n(rows),
        k(columns),
        shift(offset),
        bytes(static_cast<std::size_t>(dense_bytes(type, {rows, columns})) + offset) {}

  // The format's own encoding of these numbers.
  static BlockWeight encoded(DType dtype, const std::vector<float>& values, std::int64_t n, std::int64_t k) {
    BlockWeight w(dtype, n, k);
    quant::find_format(dtype)->encode_row(values.data(), n * k, w.bytes.data());
    return w;
  }
  // Any bytes, but for f16 numbers taken from `halves`.
  static BlockWeight random(DType dtype, std::int64_t n, std::int64_t k, unsigned seed,
                            const std::vector<std::uint16_t>& halves, std::size_t shift = 0) {
    BlockWeight w(dtype, n, k, shift);
    const BlockBytes at(dtype);
    std::mt19937 engine(seed);
    for (std::size_t b = shift; b < w.bytes.size(); b += at.bytes) {
      for (std::size_t i = 0; i < at.bytes; ++i) w.bytes[b + i] = static_cast<std::uint8_t>(engine());
      w.set_half(b + at.m, halves[engine() % halves.size()]);
      w.set_half(b + at.d, halves[engine() % halves.size()]);
    }
    return w;
  }
  void set_half(std::size_t at, std::uint16_t half) { std::memcpy(&bytes[at], &half, 2); }
  void fill_codes(std::uint8_t byte) {
    const BlockBytes at(dtype);
    for (std::size_t i = shift; i < bytes.size(); ++i) {
      if (at.is_code((i - shift) % at.bytes)) bytes[i] = byte;
    }
  }
  TensorView view() const { return {dtype, {n, k}, bytes.data() + shift}; }
  std::vector<float> values() const {
    std::vector<float> x(static_cast<std::size_t>(n * k));
    quant::find_format(dtype)->decode_row(bytes.data() + shift, n * k, x.data());
    return x;
  }
  // What a code of 0 stands for, at each element; 0 in formats without a min.
  std::vector<float> mins() const {
    if (!BlockBytes(dtype).has_min) return std::vector<float>(static_cast<std::size_t>(n * k));
    BlockWeight zero = *this;
    zero.fill_codes(0);
    return zero.values();
  }
};

// ops/matmul/activations.h, written down again.
inline std::vector<ops::ActivationGroup> quantized(const std::vector<float>& x) {
  std::vector<ops::ActivationGroup> groups(x.size() / 32);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    float a = 0;
    bool finite = true;
    for (std::size_t i = 0; i < 32; ++i) {
      finite = finite && std::isfinite(x[32 * g + i]);
      a = std::max(a, std::fabs(x[32 * g + i]));
    }
    ops::ActivationGroup& group = groups[g] = {};
    if (!finite) group.d = group.sum = std::numeric_limits<float>::quiet_NaN();
    if (!finite || a < 0x1p-112f) continue;
    const float inverse = 127 / a;
    group.d = a / 127;
    for (std::size_t i = 0; i < 32; ++i) {
      group.q[i] = static_cast<std::int8_t>(std::nearbyint(x[32 * g + i] * inverse));
      group.sums[i / 16] += group.q[i];
    }
    group.sum = group.d * static_cast<float>(group.sums[0] + group.sums[1]);
  }
  return groups;
}

// The numbers that the codes of x stand for.
inline std::vector<float> dequantized(const std::vector<float>& x) {
  const auto groups = quantized(x);
  std::vector<float> values(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    values[i] = groups[i / 32].d * static_cast<float>(groups[i / 32].q[i % 32]);
  }
  return values;
}

// A product in double over decoded weights and the codes of x, and what f32 may be off by: a rounding of
// 2^-24 for each fused step and four more for the scaling, the bias and the result, all relative to the sum
// of the groups' magnitudes (reliability.md 2.2 B); and the decoder's own rounding of each weight.
//
// With tiles, both operands as bf16 has them (reliability.md 2.2 C), and a rounding for each step of a chain
// over 16 pairs and each of the sums that follow; products below 2^-126 may be lost.
struct Bounded {
  std::vector<double> y, bound;

  Bounded(const BlockWeight& weight, const std::vector<float>& x, const std::vector<float>& bias,
          bool tiles = false) {
    if (tiles) {
      add_tiles(as_bf16(weight.values()), as_bf16(dequantized(x)), weight.k, bias);
    } else {
      add_groups(weight, x, bias);
    }
  }
  void expect(const std::vector<float>& actual) const {
    ASSERT_EQ(actual.size(), y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_LE(std::abs(double{actual[i]} - y[i]), bound[i]) << "at " << i << ": " << actual[i];
    }
  }

 private:
  void add_tiles(const std::vector<float>& w, const std::vector<float>& x, std::int64_t depth,
                 const std::vector<float>& bias) {
    const std::size_t k = static_cast<std::size_t>(depth), n = w.size() / k;
    for (std::size_t i = 0; i < x.size() / k * n; ++i) {
      double sum = bias.empty() ? 0 : double{bias[i % n]}, size = std::abs(sum);
      for (std::size_t j = 0; j < k; ++j) {
        const double product = double{x[i / n * k + j]} * double{w[i % n * k + j]};
        sum += product;
        size += std::abs(product);
      }
      y.push_back(sum);
      const auto steps = static_cast<double>(16 + k / 32 + 4);
      bound.push_back(steps * size * 0x1p-24 + static_cast<double>(k) * 0x1p-126);
    }
  }
  void add_groups(const BlockWeight& weight, const std::vector<float>& x, const std::vector<float>& bias) {
    const auto w = weight.values(), mins = weight.mins();
    const auto groups = quantized(x);
    const std::size_t n = static_cast<std::size_t>(weight.n), k = static_cast<std::size_t>(weight.k);
    const std::size_t part = weight.dtype == DType::kQ6_K ? 16 : 32;
    const auto steps = static_cast<double>(k / part * (BlockBytes(weight.dtype).has_min ? 2 : 1));
    for (std::size_t i = 0; i < x.size() / k * n; ++i) {
      double sum = bias.empty() ? 0 : double{bias[i % n]}, size = std::abs(sum), each = 0;
      for (std::size_t p = 0; p < k; p += part) {
        double above = 0, below = 0;
        for (std::size_t j = p; j < p + part; ++j) {
          const ops::ActivationGroup& group = groups[(i / n * k + j) / 32];
          const double input = double{group.d} * group.q[j % 32], value = double{w[i % n * k + j]};
          const double min = double{mins[i % n * k + j]};
          sum += input * value;
          above += input * (value - min);
          below += input * min;
          each += std::abs(input * value);
        }
        size += std::abs(above) + std::abs(below);
      }
      y.push_back(sum);
      bound.push_back(((steps + 4) * size + each) * 0x1p-24);
    }
  }
};

// Integers in -127 … 127 with a 127 in each group, so that d is 1 and the codes are the numbers.
inline std::vector<float> integers(std::int64_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(static_cast<int>(engine() % 255) - 127);
    if (i % 32 == seed % 32) x[i] = seed % 2 ? 127 : -127;
  }
  return x;
}

// y, where everything is an integer and every sum a float. Tiles multiply the weights as bf16 has them:
// integers as well.
inline void expect_exact_sums(const BlockWeight& weight, const std::vector<float>& x,
                              const std::vector<float>& y, bool tiles) {
  const auto w = tiles ? as_bf16(weight.values()) : weight.values();
  const std::size_t n = static_cast<std::size_t>(weight.n), k = static_cast<std::size_t>(weight.k);
  ASSERT_EQ(y.size(), x.size() / k * n);
  for (std::size_t i = 0; i < y.size(); ++i) {
    std::int64_t sum = 0;
    for (std::size_t j = 0; j < k; ++j) {
      sum += static_cast<std::int64_t>(w[i % n * k + j]) * static_cast<std::int64_t>(x[i / n * k + j]);
    }
    ASSERT_LT(std::abs(sum), 1 << 24) << "the case does not fit into floats";
    ASSERT_EQ(y[i], static_cast<float>(sum)) << "row " << i / n << " column " << i % n;
  }
}

inline std::vector<float> multiply(const std::vector<float>& x, const TensorView& w,
                                   const std::vector<float>& bias, const Cpu& cpu, int threads = 1) {
  const std::int64_t k = w.shape[1], rows = static_cast<std::int64_t>(x.size()) / k;
  return run(
      [&](Graph& g) {
        if (bias.empty()) return ops::matmul(g, view(x, {rows, k}), w);
        return ops::matmul(g, view(x, {rows, k}), w, view(bias, {w.shape[0]}));
      },
      cpu, threads);
}

inline std::string label(const Cpu& cpu, DType dtype) {
  return std::string(name(cpu.best())) + " " + std::string(info(dtype).name);
}

}  // namespace tessera::testing
