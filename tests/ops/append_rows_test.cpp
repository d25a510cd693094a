#include <cstring>

#include "quant/half.h"
#include "tensor/error.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

constexpr std::uint16_t kUntouched = 0x1234;

// The f16 cache of `rows` rows [rows, 2, 3] after values were appended behind `past` rows.
std::vector<std::uint16_t> appended(const std::vector<float>& values, std::int32_t past, std::int64_t rows) {
  std::vector<std::uint16_t> cache(static_cast<std::size_t>(rows) * 6, kUntouched);
  const std::vector<std::int32_t> at{past};
  const auto count = static_cast<std::int64_t>(values.size()) / 6;
  const auto out = run<std::uint16_t>([&](Graph& g) {
    return ops::append_rows(g, TensorView(DType::kF16, {rows, 2, 3}, cache.data()),
                            view(values, {count, 2, 3}), view(at, {1}));
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
  EXPECT_EQ(message({DType::kBF16, {4, 2, 3}, cache.data()}, good, at),
            "append_rows: cache is bf16[4, 2, 3], expected f32 or f16 [C, G, d]");
  EXPECT_EQ(message(good, view(rows, {2, 3, 3}), at),
            "append_rows: rows is f32[2, 3, 3], cache is f32[4, 2, 3]");
  EXPECT_EQ(message(good, good, view(rows, {18})), "append_rows: past is f32[18], expected i32[1]");
}

}  // namespace
}  // namespace tessera::testing
