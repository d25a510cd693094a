#include <bit>
#include <cstring>

#include "quant/half.h"
#include "quant/q8_0.h"
#include "tensor/error.h"
#include "tests/ops/op_test.h"
#include "tests/ops/q8_0_cache.h"

namespace tessera::testing {
namespace {

constexpr std::uint16_t kUntouched = 0x1234;

// The f16 or bf16 cache of `rows` rows [rows, 2, 3] after values were appended behind `past` rows.
std::vector<std::uint16_t> appended(const std::vector<float>& values, std::int32_t past, std::int64_t rows,
                                    DType type = DType::kF16) {
  std::vector<std::uint16_t> cache(static_cast<std::size_t>(rows) * 6, kUntouched);
  const std::vector<std::int32_t> at{past};
  const auto count = static_cast<std::int64_t>(values.size()) / 6;
  const auto out = run<std::uint16_t>([&](Graph& g) {
    return ops::append_rows(g, TensorView(type, {rows, 2, 3}, cache.data()), view(values, {count, 2, 3}),
                            view(at, {1}));
  });
  EXPECT_EQ(out, cache) << "the value is the cache itself";
  return cache;
}

TEST(AppendRows, WritesItsRowsAndNoOthers) {
  const std::vector<float> values = random_floats(2 * 6, 1);
  const auto cache = appended(values, 3, 7);
  for (std::size_t i = 0; i < cache.size(); ++i) {
    const bool written = i >= 18 && i < 30;
    EXPECT_EQ(cache[i], written ? quant::f32_to_f16(values[i - 18]) : kUntouched) << i;
  }
}

TEST(AppendRows, LeavesOutRowsBeyondTheCache) {
  const std::vector<float> values(4 * 6, 1.0f);
  // Memory behind a cache of 5 rows belongs to somebody else.
  std::vector<float> memory(8 * 6, -1.0f);
  for (const std::int32_t past : {3, 5, 100, INT32_MAX, -2, INT32_MIN}) {
    std::fill(memory.begin(), memory.end(), -1.0f);
    const std::vector<std::int32_t> at{past};
    run([&](Graph& g) {
      return ops::append_rows(g, TensorView(DType::kF32, {5, 2, 3}, memory.data()), view(values, {4, 2, 3}),
                              view(at, {1}));
    });
    for (std::int64_t row = 0; row < 8; ++row) {
      const bool written = row < 5 && row >= past && row < past + std::int64_t{4};
      for (std::int64_t i = 0; i < 6; ++i) {
        EXPECT_EQ(memory[static_cast<std::size_t>(row * 6 + i)], written ? 1.0f : -1.0f)
            << "past " << past << " row " << row;
      }
    }
  }
}

TEST(AppendRows, RoundsToTheNearestEvenHalf) {
  // IEEE 754 binary16: 1 has steps of 2^-10, the largest finite value is 65504, the smallest 2^-24.
  const std::vector<float> values{1.0f,     1 + 0x1p-11f, 1 + 3 * 0x1p-11f, -2.5f,    65504.0f,     65519.0f,
                                  65520.0f, -1e30f,       0x1p-24f,         0x1p-25f, 3 * 0x1p-25f, -0.0f};
  EXPECT_EQ(appended(values, 0, 2),
            (std::vector<std::uint16_t>{0x3C00, 0x3C00, 0x3C02, 0xC100, 0x7BFF, 0x7BFF,  //
                                        0x7C00, 0xFC00, 0x0001, 0x0000, 0x0002, 0x8000}));
  const auto special = appended({NAN, INFINITY, -INFINITY, 0x1p-14f, 0x1p-15f, 1e-40f}, 0, 1);
  EXPECT_TRUE(std::isnan(quant::f16_to_f32(special[0])));
  EXPECT_EQ(std::vector<std::uint16_t>(special.begin() + 1, special.end()),
            (std::vector<std::uint16_t>{0x7C00, 0xFC00, 0x0400, 0x0200, 0x0000}));
}

TEST(AppendRows, RoundsToTheNearestEvenBf16) {
  // The upper half of IEEE 754 binary32: 1 has steps of 2^-7.
  const std::vector<float> values{1.0f,        1 + 0x1p-8f, 1 + 3 * 0x1p-8f, -2.5f,     0x1.FEFFFEp127f,
                                  0x1.FFp127f, -INFINITY,   0x1p-126f,       0x1p-133f, -0.0f,
                                  0x1p-134f,   0x3p-134f};
  EXPECT_EQ(appended(values, 0, 2, DType::kBF16),
            (std::vector<std::uint16_t>{0x3F80, 0x3F80, 0x3F82, 0xC020, 0x7F7F, 0x7F80,  //
                                        0xFF80, 0x0080, 0x0001, 0x8000, 0x0000, 0x0002}));
  EXPECT_TRUE(std::isnan(quant::bf16_to_f32(appended({NAN, 1, 1, 1, 1, 1}, 0, 1, DType::kBF16)[0])));
}

TEST(AppendRows, WritesBlocksToTheirTiles) {
  for (const ops::CachePart part : {ops::CachePart::kKeys, ops::CachePart::kValues}) {
    for (const std::int64_t dim : {32, 64, 96, 128}) {
      for (const std::int64_t past : {0, 3, 29, 30, 31, 32, 61}) {
        std::vector<float> values = random_floats(5 * 3 * dim, 1);  // [5, 3, d]
        values[3] = -100;                                           // the largest of block 0
        const Shape shape{70, 3, dim};
        Q8_0Cache cache(part, shape, 0x5A), expected(part, shape, 0x5A);
        EXPECT_EQ(ops::cache_bytes(cache.desc), cache.bytes.size());
        const std::vector<std::int32_t> at{static_cast<std::int32_t>(past)};
        run<std::int32_t>(
            [&](Graph& g) {
              ops::append_rows(g, cache.view(), view(values, {5, 3, dim}), view(at, {1}));
              return g.constant(view(at, {1}));
            },
            Cpu::from_environment(), 3);
        expected.put_rows(values, past);
        ASSERT_EQ(cache.bytes, expected.bytes) << "d " << dim << " past " << past;
        // quant/q8_0.h: d = max|x| / 127, to f16: 100 / 127 = 0x3A4D.
        const std::size_t scale = cache.scale_at(past, 0, 0);
        EXPECT_EQ(cache.bytes[scale] | cache.bytes[scale + 1] << 8, 0x3A4D);
      }
    }
  }
}

TEST(AppendRows, LeavesTheRowsOfATileThatTheCacheHasNot) {
  const std::vector<float> values(4 * 32, 1.0f);
  const std::vector<std::int32_t> past{37};
  Q8_0Cache cache(ops::CachePart::kValues, {40, 1, 32}, 0x5A), expected = cache;
  run<std::int32_t>([&](Graph& g) {
    ops::append_rows(g, cache.view(), view(values, {4, 1, 32}), view(past, {1}));
    return g.constant(view(past, {1}));
  });
  expected.put_rows(std::vector<float>(3 * 32, 1.0f), 37);
  EXPECT_EQ(cache.bytes, expected.bytes);
}

TEST(CacheDesc, KeepsTheRowsOfEachHeadTogether) {
  const TensorDesc halves = ops::cache_desc(DType::kF16, ops::CachePart::kKeys, {40, 3, 64});
  EXPECT_EQ(halves.layout, 0);
  EXPECT_EQ(halves.shape, (Shape{40, 3, 64}));
  EXPECT_EQ(halves.strides, (Strides{128, 40 * 128, 2}));
  EXPECT_EQ(ops::cache_bytes(halves), 3u * 40 * 128);
  const TensorDesc keys = ops::cache_desc(DType::kQ8_0, ops::CachePart::kKeys, {40, 3, 64});
  EXPECT_EQ(keys.strides, (Strides{68, 64 * 68, 34}));
  EXPECT_EQ(ops::cache_bytes(keys), 3u * 64 * 68);
  EXPECT_NE(keys, ops::cache_desc(DType::kQ8_0, ops::CachePart::kValues, {40, 3, 64}));
}

TEST(CacheDesc, RefusesWhatNoCacheHolds) {
  const auto message = [](DType type, const Shape& shape) -> std::string {
    try {
      ops::cache_desc(type, ops::CachePart::kKeys, shape);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      return error.what();
    }
    return "nothing thrown";
  };
  const std::string expected =
      ", expected f32, f16, bf16 or q8_0 [C, G, d], for q8_0 with d a multiple of 32";
  EXPECT_EQ(message(DType::kI32, {4, 2, 32}), "cache_desc: got i32[4, 2, 32]" + expected);
  EXPECT_EQ(message(DType::kQ8_0, {4, 2, 40}), "cache_desc: got q8_0[4, 2, 40]" + expected);
  EXPECT_EQ(message(DType::kF32, {4, 64}), "cache_desc: got f32[4, 64]" + expected);
}

// The bytes of a cache of one row on this level, behind them some that must stay.
std::vector<std::byte> bytes_on(const Cpu& cpu, DType type, const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  const TensorDesc desc = ops::cache_desc(type, ops::CachePart::kKeys, {1, 1, n});
  std::vector<std::byte> cache(ops::cache_bytes(desc) + 8, std::byte{0x5A});
  const std::vector<std::int32_t> past{0};
  run<std::int32_t>(
      [&](Graph& g) {
        ops::append_rows(g, TensorView(desc, cache.data()), view(x, {1, 1, n}), view(past, {1}));
        return g.constant(view(past, {1}));
      },
      cpu);
  return cache;
}

TEST(AppendRows, WritesTheSameBytesOnEveryLevel) {
  const auto expect_same = [](DType type, const std::vector<float>& x) {
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(name(cpu.best()));
      EXPECT_EQ(bytes_on(cpu, type, x), bytes_on(Cpu::detect().limited_to(IsaLevel::kScalar), type, x))
          << x.size();
    }
  };
  for (std::int64_t n = 1; n <= 33; ++n) {
    expect_same(DType::kF16, random_floats(n, 1, 1000.0f));
    expect_same(DType::kBF16, random_floats(n, 1, 1000.0f));
  }
  expect_same(DType::kBF16,
              {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 0x1.FFp127f, INFINITY, -INFINITY, 0x1p-134f, -0x1p-149f,
               std::bit_cast<float>(0x7F800001u), std::bit_cast<float>(0xFFFFFFFFu)});
  for (const float scale : {1e-38f, 1e-30f, 1e-3f, 1.0f, 1e4f, 1e38f}) {
    expect_same(DType::kQ8_0, random_floats(8 * 32, 2, scale));
  }
  // Halves, which go away from zero, and what lies closest to them.
  std::vector<float> halves(3 * 32, 0.49999997f);
  for (std::size_t i = 0; i < 64; ++i) halves[i] = static_cast<float>(i) - 31.5f;
  halves[0] = halves[32] = halves[64] = 127;
  expect_same(DType::kQ8_0, halves);
  std::vector<float> ends(5 * 32, 0.0f);
  ends[33] = -0.0f;
  ends[64] = std::numeric_limits<float>::denorm_min();
  ends[96] = -std::numeric_limits<float>::max();
  ends[128] = std::numeric_limits<float>::min();
  expect_same(DType::kQ8_0, ends);
}

TEST(AppendRows, GivesBlocksThatCannotHoldANumberAScaleOfNaN) {
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    std::vector<float> values(128, 1.0f);
    values[32] = values[95] = bad;
    const std::vector<std::int32_t> past{0};
    Q8_0Cache cache(ops::CachePart::kKeys, {1, 1, 128}, 0);
    run<std::int32_t>([&](Graph& g) {
      ops::append_rows(g, cache.view(), view(values, {1, 1, 128}), view(past, {1}));
      return g.constant(view(past, {1}));
    });
    for (std::int64_t b = 0; b < 4; ++b) {
      std::uint16_t scale;
      std::memcpy(&scale, &cache.bytes[cache.scale_at(0, 0, b)], sizeof scale);
      EXPECT_EQ(std::isnan(quant::f16_to_f32(scale)), b == 1 || b == 2) << bad << " block " << b;
    }
  }
}

TEST(AppendRows, CountsTheBytesOfItsCache) {
  const std::vector<float> values(2 * 64);
  std::vector<std::byte> cache(8 * 64 * 4);
  const std::vector<std::int32_t> past{0};
  const auto bytes = [&](DType type) {
    Graph g;
    const TensorDesc desc = ops::cache_desc(type, ops::CachePart::kKeys, {8, 1, 64});
    ops::append_rows(g, TensorView(desc, cache.data()), view(values, {2, 1, 64}), view(past, {1}));
    return Plan::make(g, Cpu::from_environment()).steps()[0].cost.bytes;
  };
  EXPECT_EQ(bytes(DType::kF32), 2 * 64 * 8);
  EXPECT_EQ(bytes(DType::kF16), 2 * 64 * 6);
  EXPECT_EQ(bytes(DType::kQ8_0), 2 * (64 * 4 + 2 * 34));
}

TEST(AppendRows, TakesStridedRowsAndOneLayerOfAPool) {
  const auto both = random_floats(3 * 4 * 5, 1);  // k and v of 3 tokens: [3, 2 + 2, 5]
  std::vector<float> pool(2 * 6 * 2 * 5, -1.0f);  // [layers, C, G, d]
  const std::vector<std::int32_t> past{2};
  run([&](Graph& g) {
    const Tensor layer =
        ops::slice(g, g.constant(TensorView(DType::kF32, {2, 6, 2, 5}, pool.data())), 0, 1, 2);
    const Tensor rows = ops::slice(g, g.constant(view(both, {3, 4, 5})), 1, 2, 4);
    return ops::append_rows(g, ops::reshape(g, layer, {6, 2, 5}), rows, view(past, {1}));
  });
  for (std::size_t i = 0; i < pool.size(); ++i) {
    const std::size_t row = i / 10;
    const bool written = row >= 8 && row < 11;
    EXPECT_EQ(pool[i], written ? both[(row - 8) * 20 + 10 + i % 10] : -1.0f) << i;
  }
}

TEST(AppendRows, RefusesOperandsThatDoNotFit) {
  const std::vector<float> cache(4 * 2 * 3), rows(2 * 3 * 3);
  const std::vector<std::int32_t> past{0};
  const auto message = [&](const TensorView& c, const TensorView& r, const TensorView& p) -> std::string {
    Graph g;
    try {
      ops::append_rows(g, c, r, p);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      return error.what();
    }
    return "nothing thrown";
  };
  const TensorView good = view(cache, {4, 2, 3}), at = view(past, {1});
  EXPECT_EQ(
      message({DType::kI32, {4, 2, 3}, cache.data()}, good, at),
      "append_rows: cache is i32[4, 2, 3], expected f32, f16 or bf16 [C, G, d], or q8_0 as cache_desc lays "
      "it out");
  EXPECT_EQ(
      message({DType::kQ8_0, {4, 2, 32}, cache.data()}, good, at),
      "append_rows: cache is q8_0[4, 2, 32], expected f32, f16 or bf16 [C, G, d], or q8_0 as cache_desc lays "
      "it out");
  EXPECT_EQ(message(good, view(rows, {2, 3, 3}), at),
            "append_rows: rows is f32[2, 3, 3], cache is f32[4, 2, 3]");
  EXPECT_EQ(message(good, good, view(rows, {18})), "append_rows: past is f32[18], expected i32[1]");
}

}  // namespace
}  // namespace tessera::testing
