#include <bit>
#include <cstring>

#include "quant/half.h"
#include "quant/q8_0.h"
#include "tensor/error.h"
#include "tests/ops/op_test.h"

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

TEST(AppendRows, WritesBlocks) {
  using quant::BlockQ8_0;
  for (const std::int64_t dim : {32, 64, 96, 128}) {
    const auto blocks = static_cast<std::size_t>(dim / 32);
    std::vector<float> values = random_floats(2 * 3 * dim, 1);  // [2, 3, d]
    values[3] = -100;                                           // the largest of block 0
    const BlockQ8_0 untouched{kUntouched, {}};
    std::vector<BlockQ8_0> cache(6 * 3 * blocks, untouched);
    const std::vector<std::int32_t> past{3};
    run<std::byte>([&](Graph& g) {
      ops::append_rows(g, TensorView(DType::kQ8_0, {6, 3, dim}, cache.data()), view(values, {2, 3, dim}),
                       view(past, {1}));
      return g.constant(view(past, {1}));
    });
    for (std::size_t i = 0; i < cache.size(); ++i) {
      BlockQ8_0 expected = untouched;
      const std::size_t from = 3 * 3 * blocks;
      if (i >= from && i < from + 2 * 3 * blocks) quant::encode(&values[(i - from) * 32], &expected);
      ASSERT_EQ(std::memcmp(&cache[i], &expected, sizeof expected), 0) << "d " << dim << " block " << i;
    }
    // quant/q8_0.h: d = max|x| / 127, to f16: 100 / 127 = 0x3A4D.
    EXPECT_EQ(cache[3 * 3 * blocks].d, 0x3A4D);
    EXPECT_EQ(cache[3 * 3 * blocks].qs[3], -127);
  }
}

// The bytes of a cache of one row on this level, behind them some that must stay.
std::vector<std::byte> bytes_on(const Cpu& cpu, DType type, const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> cache(static_cast<std::size_t>(dense_bytes(type, {n})) + 8, std::byte{0x5A});
  const std::vector<std::int32_t> past{0};
  run<std::int32_t>(
      [&](Graph& g) {
        ops::append_rows(g, TensorView(type, {1, 1, n}, cache.data()), view(x, {1, 1, n}), view(past, {1}));
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
  std::vector<quant::BlockQ8_0> cache(4);
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    std::vector<float> values(128, 1.0f);
    values[32] = values[95] = bad;
    const std::vector<std::int32_t> past{0};
    run<std::byte>([&](Graph& g) {
      ops::append_rows(g, TensorView(DType::kQ8_0, {1, 1, 128}, cache.data()), view(values, {1, 1, 128}),
                       view(past, {1}));
      return g.constant(view(past, {1}));
    });
    for (std::size_t i = 0; i < 4; ++i) {
      float x[32];
      quant::decode(cache[i], x);
      for (const float value : x) EXPECT_EQ(std::isnan(value), i == 1 || i == 2) << bad << " block " << i;
    }
  }
}

TEST(AppendRows, CountsTheBytesOfItsCache) {
  const std::vector<float> values(2 * 64);
  std::vector<std::byte> cache(8 * 64 * 4);
  const std::vector<std::int32_t> past{0};
  const auto bytes = [&](DType type) {
    Graph g;
    ops::append_rows(g, TensorView(type, {8, 1, 64}, cache.data()), view(values, {2, 1, 64}),
                     view(past, {1}));
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
      "append_rows: cache is i32[4, 2, 3], expected f32, f16, bf16 or q8_0 [C, G, d], for q8_0 with d a "
      "multiple of 32");
  EXPECT_EQ(
      message({DType::kQ8_0, {4, 2, 3}, cache.data()}, good, at),
      "append_rows: cache is q8_0[4, 2, 3], expected f32, f16, bf16 or q8_0 [C, G, d], for q8_0 with d a "
      "multiple of 32");
  EXPECT_EQ(message(good, view(rows, {2, 3, 3}), at),
            "append_rows: rows is f32[2, 3, 3], cache is f32[4, 2, 3]");
  EXPECT_EQ(message(good, good, view(rows, {18})), "append_rows: past is f32[18], expected i32[1]");
}

}  // namespace
}  // namespace tessera::testing
