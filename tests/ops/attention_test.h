// What the tests of attention share: references in double with a bound for each element.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "quant/formats.h"
#include "tensor/error.h"
#include "tests/ops/op_test.h"
#include "tests/ops/q8_0_cache.h"

namespace tessera::testing {

// q [T, H, d], k and v [C, G, d], as the kernels will read them.
struct AttentionCase {
  std::int64_t tokens, heads, kv_heads, dim, cache;
  float scale;
  std::vector<float> q, k, v;

  AttentionCase(std::int64_t t, std::int64_t h, std::int64_t g, std::int64_t d, std::int64_t c)
      : tokens(t),
        heads(h),
        kv_heads(g),
        dim(d),
        cache(c),
        scale(static_cast<float>(1 / std::sqrt(static_cast<double>(d)))),
        q(random_floats(t * h * d, 1)),
        k(random_floats(c * g * d, 2)),
        v(random_floats(c * g * d, 3)) {}
};

// What a kernel rounds beside f32 arithmetic: each product q_i k_i, relatively; each q_i, relatively to the
// largest; each product of a weight and a value, relatively, or relatively to the largest product of a weight
// with 32 neighbours over 256 keys.
struct Rounding {
  double product = 0, query = 0, value = 0, weight = 0;
};

struct Expected {
  struct Row {
    double keys = 0, dim = 0;
    double largest = 0;  // max_s scale * sum_i |q_i k_si|
    double uneven = 0;   // max_s scale * max_i |q_i| * sum_i |k_si|
  };
  std::vector<double> y, weight;  // and sum_s w_s |v_s| / sum_s w_s
  std::vector<double> spread;  // sum over 256 keys each of their number times Rounding's product / sum_s w_s
  std::vector<Row> rows;

  // With u = 2^-24, n keys in b blocks, and A = Row::largest:
  //   a score is a chain of d FMAs over scaled queries, from which the maximum is taken: (d + 5) u A;
  //   exp2 adds 2e-7, relative; so does the factor of each block, whose exponent is rounded: 2 u A;
  //   hence a weight is off by a factor e^(+-delta), delta = (d + 5 + 2 b) u A + (1 + b) 2e-7 (common factors
  //   cancel), in the numerator and in the denominator;
  //   sums over keys, the product with 1 / sum and the rounding of y: (n + 2 b + 20) u.
  // All relative to W = `weight`. Weights below e^-87.3 come out as 1.2e-38 at most. Other roundings move
  // scores by product * A and query * Row::uneven, and the numerator by value * W and weight * `spread`.
  double bound(std::size_t i, const Rounding& rounding) const {
    const double u = 0x1p-24;
    const Row& row = rows[i * rows.size() / y.size()];
    if (row.keys == 0) return 0;
    const double blocks = std::ceil(row.keys / 64) + 1;
    const double delta = (row.dim + 5 + 2 * blocks) * u * row.largest + (1 + blocks) * 2e-7 +
                         rounding.product * row.largest + rounding.query * row.uneven;
    const double relative = std::expm1(2 * delta) + (row.keys + 2 * blocks + 20) * u + rounding.value;
    return relative * weight[i] + rounding.weight * spread[i] + 1e-34;
  }
};

// Row t attends to keys [from(t), to(t)).
template <typename From, typename To>
Expected expected_attention(const AttentionCase& x, From from, To to) {
  const auto dim = static_cast<std::size_t>(x.dim);
  Expected out;
  for (std::int64_t at = 0; at < x.tokens * x.heads; ++at) {
    const std::int64_t t = at / x.heads, group = at % x.heads / (x.heads / x.kv_heads);
    const float* q = x.q.data() + at * x.dim;
    const std::int64_t begin = from(t), n = std::max<std::int64_t>(to(t) - begin, 0);
    std::vector<double> scores(static_cast<std::size_t>(n));
    Expected::Row row{static_cast<double>(n), static_cast<double>(x.dim)};
    double top = -INFINITY, widest = 0;
    for (std::size_t i = 0; i < dim; ++i) widest = std::max(widest, std::abs(double{q[i]}));
    for (std::int64_t s = 0; s < n; ++s) {
      const float* k = x.k.data() + ((begin + s) * x.kv_heads + group) * x.dim;
      double score = 0, absolute = 0, keys = 0;
      for (std::size_t i = 0; i < dim; ++i) {
        score += double{q[i]} * double{k[i]};
        absolute += std::abs(double{q[i]} * double{k[i]});
        keys += std::abs(double{k[i]});
      }
      scores[static_cast<std::size_t>(s)] = score * double{x.scale};
      top = std::max(top, score * double{x.scale});
      row.largest = std::max(row.largest, absolute * double{x.scale});
      row.uneven = std::max(row.uneven, widest * keys * double{x.scale});
    }
    double sum = 0;
    std::vector<double> value(dim), weight(dim);
    for (std::int64_t s = 0; s < n; ++s) {
      const float* v = x.v.data() + ((begin + s) * x.kv_heads + group) * x.dim;
      const double w = std::exp(scores[static_cast<std::size_t>(s)] - top);
      sum += w;
      for (std::size_t i = 0; i < dim; ++i) {
        value[i] += w * double{v[i]};
        weight[i] += w * std::abs(double{v[i]});
      }
    }
    std::vector<double> spread(dim);
    for (std::int64_t first = 0; first < n; first += 256) {
      const std::int64_t last = std::min<std::int64_t>(n, first + 256);
      std::vector<double> widest_products((dim + 31) / 32);
      for (std::int64_t s = first; s < last; ++s) {
        const float* v = x.v.data() + ((begin + s) * x.kv_heads + group) * x.dim;
        const double w = std::exp(scores[static_cast<std::size_t>(s)] - top);
        for (std::size_t i = 0; i < dim; ++i) {
          widest_products[i / 32] = std::max(widest_products[i / 32], w * std::abs(double{v[i]}));
        }
      }
      for (std::size_t i = 0; i < dim; ++i) {
        spread[i] += static_cast<double>(last - first) * widest_products[i / 32];
      }
    }
    out.rows.push_back(row);
    for (std::size_t i = 0; i < dim; ++i) {
      out.y.push_back(n > 0 ? value[i] / sum : 0);
      out.weight.push_back(n > 0 ? weight[i] / sum : 0);
      out.spread.push_back(n > 0 ? spread[i] / sum : 0);
    }
  }
  return out;
}

inline void expect_within(const std::vector<float>& y, const Expected& expected,
                          const Rounding& rounding = {}) {
  ASSERT_EQ(y.size(), expected.y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (std::isnan(expected.y[i])) {
      ASSERT_TRUE(std::isnan(y[i])) << "at " << i << ": " << y[i];
    } else {
      ASSERT_LE(std::abs(double{y[i]} - expected.y[i]), expected.bound(i, rounding))
          << "at " << i << ": " << y[i] << ", expected " << expected.y[i];
    }
  }
}

// What dot products of bf16 round: queries and keys, so products by (1 + 2^-8)^2; weights, in the numerator
// and in the denominator; values.
inline Rounding bf16_rounding() {
  Rounding rounding;
  rounding.product = 0x1p-7 + 0x1p-15;
  rounding.value = 3 * 0x1p-8 + 0x1p-14;
  return rounding;
}

// The same for several positions, whose exponential is within 7.6e-5.
inline Rounding bf16_block_rounding() {
  Rounding rounding = bf16_rounding();
  rounding.value += 2 * 7.6e-5;
  return rounding;
}

// What products of bytes round for one position: queries to half a step of 1 / 16319 of their largest
// element, and weights times scales to half a step of 1 / 65535 of the largest product, by which codes of up
// to 127 are multiplied.
inline Rounding code_rounding() {
  Rounding rounding;
  rounding.query = 0.5 / 16319 + 0x1p-22;
  rounding.weight = 0.5 / 65535 + 0x1p-22;
  return rounding;
}

// What `cpu` rounds over a cache of that type, for one position and for several.
inline Rounding decode_rounding(const Cpu& cpu, DType cache) {
  if (cache == DType::kBF16 && cpu.has(IsaLevel::kAvx512Bf16)) return bf16_rounding();
  const bool codes =
      cpu.has(IsaLevel::kAvx512) ? cpu.has(IsaLevel::kAvx512Vnni) : cpu.has(IsaLevel::kAvxVnni);
  if (cache == DType::kQ8_0 && codes) return code_rounding();
  return {};
}
inline Rounding segment_rounding(const Cpu& cpu) {
  return cpu.has(IsaLevel::kAvx512Bf16) ? bf16_block_rounding() : Rounding{};
}
inline Rounding block_rounding(const Cpu& cpu, DType cache) {
  return cache == DType::kF32 ? Rounding{} : segment_rounding(cpu);
}

inline Rounding causal_rounding(const Cpu& cpu, std::int64_t tokens, DType cache) {
  return tokens == 1 ? decode_rounding(cpu, cache) : block_rounding(cpu, cache);
}

inline Expected expected_causal(const AttentionCase& x, std::int64_t past) {
  return expected_attention(
      x, [](std::int64_t) { return std::int64_t{0}; },
      [&](std::int64_t t) { return std::clamp<std::int64_t>(past + t + 1, 0, x.cache); });
}

// Types that a cache can have, and those of them that hold any width of a head.
inline constexpr DType kCacheTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0};
inline constexpr std::span kFloatCacheTypes(kCacheTypes, 3);

// Values as a file has them. The formats themselves are tested in tests/quant.
inline std::vector<std::uint8_t> encoded(const std::vector<float>& values, DType type) {
  const auto n = static_cast<std::int64_t>(values.size());
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(dense_bytes(type, {n})));
  quant::find_format(type)->encode_row(values.data(), n, bytes.data());
  return bytes;
}
// x with the keys and values that a cache of that type holds.
inline AttentionCase stored(AttentionCase x, DType type) {
  for (std::vector<float>* values : {&x.k, &x.v}) {
    const auto n = static_cast<std::int64_t>(values->size());
    quant::find_format(type)->decode_row(encoded(*values, type).data(), n, values->data());
  }
  return x;
}

// Keys or values of x in a cache of that type. Rows of a q8_0 tile that the cache has not are NaN.
struct TestCache {
  TensorDesc desc;
  std::vector<std::uint8_t> bytes;

  TestCache(const AttentionCase& x, ops::CachePart part, DType type)
      : desc(TensorDesc::dense(type, {x.cache, x.kv_heads, x.dim})) {
    const std::vector<float>& values = part == ops::CachePart::kKeys ? x.k : x.v;
    if (type != DType::kQ8_0) {
      bytes = encoded(values, type);
      return;
    }
    Q8_0Cache blocks(part, desc.shape, 0xFF);
    blocks.put_rows(values, 0);
    desc = blocks.desc;
    bytes = std::move(blocks.bytes);
  }
  // Makes the first element of row s of a head NaN, or, of q8_0, block b.
  void spoil(std::int64_t s, std::int64_t head, std::int64_t b = 0) {
    std::size_t at = static_cast<std::size_t>(s * desc.strides[0] + head * desc.strides[1]);
    if (desc.dtype == DType::kQ8_0) at = Q8_0Cache::scale_at(desc.shape, s, head, b);
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), desc.dtype == DType::kF32 ? 4 : 2, 0xFF);
  }
  TensorView view() { return {desc, bytes.data()}; }
};

inline std::vector<float> run_causal(const AttentionCase& x, std::int64_t past, DType cache, const Cpu& cpu,
                                     int threads = 1) {
  const std::vector<std::int32_t> at{static_cast<std::int32_t>(past)};
  TestCache k(x, ops::CachePart::kKeys, cache), v(x, ops::CachePart::kValues, cache);
  return run(
      [&](Graph& g) {
        return ops::causal_attention(g, view(x.q, {x.tokens, x.heads, x.dim}), k.view(), v.view(),
                                     view(at, {1}), x.scale);
      },
      cpu, threads);
}

// The message of the kUsage error that build throws.
template <typename Build>
std::string refusal(Build build) {
  Graph g;
  try {
    build(g);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.what();
  }
  return "nothing thrown";
}

}  // namespace tessera::testing
