#include <gtest/gtest.h>

#include <limits>

#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

using ops::RopeLayout;
using ops::RopeOptions;

std::vector<float> table_of(const std::vector<std::int32_t>& positions, std::int64_t axes,
                            const RopeOptions& options, int threads = 2) {
  return run(
      [&](Graph& g) {
        const auto tokens = static_cast<std::int64_t>(positions.size()) / axes;
        return ops::rope_table(g, view(positions, {axes, tokens}), options);
      },
      Cpu::from_environment(), threads);
}

void expect_angle(const std::vector<float>& table, std::size_t i, double angle, double bound = 3e-7) {
  EXPECT_NEAR(table[2 * i], std::cos(angle), bound) << "cos " << i;
  EXPECT_NEAR(table[2 * i + 1], std::sin(angle), bound) << "sin " << i;
}

// spec/qwen3-vl.md 6.4
TEST(RopeTable, InterleavedMatchesTheSpec) {
  const auto table = table_of({5, 7, 9}, 3, {5e6, 128, RopeLayout::kInterleaved, {24, 20, 20}});
  ASSERT_EQ(table.size(), 128u);
  expect_angle(table, 0, 5);
  // The angles are given to 9 digits: half a unit of the last one is 5e-9.
  EXPECT_NEAR(table[2], 0.709240933, 1e-8 + 1e-7);
  EXPECT_NEAR(table[3], -0.704966169, 1e-8 + 1e-7);
  EXPECT_NEAR(table[4], 0.748216537, 1e-8 + 1e-7);
  EXPECT_NEAR(table[5], -0.663454605, 1e-8 + 1e-7);
  EXPECT_NEAR(table[6], -0.754942695, 1e-8 + 1e-7);
  EXPECT_NEAR(table[7], 0.655790764, 1e-8 + 1e-7);
  expect_angle(table, 4, 2.66939237);
  expect_angle(table, 5, 2.69702814);
  expect_angle(table, 58, 5.94506317e-6);
  expect_angle(table, 59, 6.00661141e-6);
  expect_angle(table, 60, 2.62231963e-6);
  EXPECT_NEAR(table[2 * 58 + 1], 5.94506317e-6, 1e-13);
  EXPECT_NEAR(table[2 * 59 + 1], 6.00661141e-6, 1e-13);
  EXPECT_NEAR(table[2 * 60 + 1], 2.62231963e-6, 1e-13);
  // "thw" twenty times, then "tttt": a position that only one axis has shows who follows it.
  std::string axes(64, '?');
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::vector<std::int32_t> positions(3);
    positions[axis] = 1;
    const auto one = table_of(positions, 3, {5e6, 128, RopeLayout::kInterleaved, {24, 20, 20}});
    for (std::size_t i = 0; i < 64; ++i) {
      if (one[2 * i + 1] != 0) axes[i] = "thw"[axis];
    }
  }
  std::string thw;
  for (int i = 0; i < 20; ++i) thw += "thw";
  EXPECT_EQ(axes, thw + "tttt");
}

TEST(RopeTable, SequenceMatchesTheSpec) {
  // Position 1 shows the frequencies: inv[1], inv[10] …, theta 5e6, spec 6.4.
  const auto table = table_of({1}, 1, {5e6, 128, RopeLayout::kSequence, {}});
  const std::pair<std::size_t, double> inverse[] = {
      {1, 0.78582998},     {2, 0.617528758},    {3, 0.485272612},   {10, 0.0898019851},
      {32, 4.47213595e-4}, {59, 6.67401268e-7}, {63, 2.54507979e-7}};
  for (const auto& [i, angle] : inverse) expect_angle(table, i, angle);
  EXPECT_NEAR(table[2 * 63 + 1], 2.54507979e-7, 3e-14);  // two roundings to f32
}

// Text has equal positions on all axes: every layout is the plain one there.
TEST(RopeTable, EqualAxesGiveThePlainAngles) {
  const std::vector<std::int32_t> plain{0, 17, 262143}, thrice{0, 17, 262143, 0, 17, 262143, 0, 17, 262143};
  const auto table = table_of(plain, 1, {5e6, 128, RopeLayout::kSequence, {}});
  EXPECT_EQ(table, table_of(thrice, 3, {5e6, 128, RopeLayout::kInterleaved, {24, 20, 20}}));
  EXPECT_EQ(table, table_of(thrice, 3, {5e6, 128, RopeLayout::kChunked, {16, 24, 24}}));
}

// Qwen2-VL: [16, 24, 24], frequencies 0..15 follow t, 16..39 h, 40..63 w (spec 6.4).
TEST(RopeTable, ChunkedSectionsFollowOneAxisEach) {
  const RopeOptions options{1e6, 128, RopeLayout::kChunked, {16, 24, 24}};
  const auto table = table_of({3, 5, 7}, 3, options);
  for (std::size_t i = 0; i < 64; ++i) {
    const double position = i < 16 ? 3 : i < 40 ? 5 : 7;
    expect_angle(table, i, position * std::pow(1e6, -2.0 * static_cast<double>(i) / 128), 1e-7);
  }
}

// spec/qwen3-vl.md 5.2: patch (3, 5), d = 64; frequencies of d = 72.
TEST(RopeTable, GridMatchesTheSpec) {
  const auto table = table_of({3, 5}, 2, {10000, 64, RopeLayout::kGrid, {}});
  ASSERT_EQ(table.size(), 64u);
  const std::pair<std::size_t, double> angles[] = {{0, 3},  {1, 1.687024},  {2, 0.948683},
                                                   {16, 5}, {17, 2.811707}, {18, 1.581139}};
  for (const auto& [i, angle] : angles) expect_angle(table, i, angle, 6e-7);
  const auto wide = table_of({1, 0}, 2, {10000, 72, RopeLayout::kGrid, {}});
  ASSERT_EQ(wide.size(), 72u);
  const std::pair<std::size_t, double> frequencies[] = {
      {0, 1}, {1, 0.59948425}, {2, 0.35938137}, {3, 0.21544347}, {17, 0.00016681005}, {18, 0}, {35, 0}};
  for (const auto& [i, angle] : frequencies) expect_angle(wide, i, angle, 1e-7);
}

// reliability.md 2.6: angles computed in f32 would be wrong by up to 7e-3 at the end of the context.
TEST(RopeTable, KeepsItsDigitsAtTheEndOfTheContext) {
  const std::vector<std::int32_t> positions{0, 4095, 32767, 131071, 262143};
  const auto table = table_of(positions, 1, {5e6, 128, RopeLayout::kSequence, {}});
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::size_t i = 0; i < 64; ++i) {
      const long double angle = positions[t] * std::pow(5e6L, -2.0L * static_cast<long double>(i) / 128);
      EXPECT_NEAR(table[t * 128 + 2 * i], static_cast<double>(std::cos(angle)), 6.1e-8);
      EXPECT_NEAR(table[t * 128 + 2 * i + 1], static_cast<double>(std::sin(angle)), 6.1e-8);
    }
  }
}

TEST(RopeTable, RefusesWhatDoesNotFit) {
  const std::vector<std::int32_t> three(6);
  const std::vector<float> floats(6);
  auto refuses = [&](const TensorView& positions, const RopeOptions& options, const std::string& message) {
    expect_usage_error([&](Graph& g) { ops::rope_table(g, positions, options); }, "rope_table: " + message);
  };
  const TensorView p32 = view(three, {3, 2});
  refuses(p32, {1e4, 63, RopeLayout::kChunked, {}}, "head_dim is 63, expected a multiple of 2");
  refuses(p32, {1e4, 0, RopeLayout::kChunked, {}}, "head_dim is 0, expected a multiple of 2");
  refuses(p32, {1e4, 66, RopeLayout::kGrid, {}}, "head_dim is 66, expected a multiple of 4");
  refuses(p32, {1e4, 64, RopeLayout::kGrid, {}}, "positions is i32[3, 2], expected i32[2, T]");
  refuses(p32, {1e4, 64, RopeLayout::kSequence, {}}, "positions is i32[3, 2], expected i32[1, T]");
  refuses(view(floats, {3, 2}), {1e4, 64, RopeLayout::kChunked, {16, 8, 8}},
          "positions is f32[3, 2], expected i32[3, T]");
  refuses(p32, {1e4, 64, RopeLayout::kChunked, {16, 8, 7}}, "sections sum to 31, head_dim / 2 is 32");
  refuses(p32, {1e4, 64, RopeLayout::kChunked, {40, -8, 0}}, "sections sum to 32, head_dim / 2 is 32");
  refuses(p32, {0, 64, RopeLayout::kChunked, {16, 8, 8}}, "theta is 0.000000, expected a positive number");
}

std::vector<double> rotated(const std::vector<float>& x, const std::vector<float>& table, std::size_t heads,
                            std::size_t dim) {
  std::vector<double> y(x.size());
  const std::size_t half = dim / 2;
  for (std::size_t row = 0; row < x.size() / dim; ++row) {
    const float* angles = table.data() + row / heads * dim;
    for (std::size_t i = 0; i < half; ++i) {
      const double a = double{x[row * dim + i]}, b = double{x[row * dim + i + half]};
      const double cos = double{angles[2 * i]}, sin = double{angles[2 * i + 1]};
      y[row * dim + i] = a * cos - b * sin;
      y[row * dim + i + half] = b * cos + a * sin;
    }
  }
  return y;
}

TEST(Rope, MatchesDoubleOnEveryLevelAndTail) {
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    for (const std::int64_t dim : {2, 4, 14, 16, 18, 30, 32, 34, 64, 72, 80, 128}) {
      SCOPED_TRACE(dim);
      const auto x = random_floats(3 * 2 * dim, 1), table = random_floats(3 * dim, 2);
      const auto y = run(
          [&](Graph& g) {
            return ops::rope(g, view(x, {3, 2, dim}), view(table, {3, dim / 2, 2}));
          },
          cpu);
      const auto exact = rotated(x, table, 2, static_cast<std::size_t>(dim));
      // Two products and a sum: 3 roundings of terms below 5 * 5.
      for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], exact[i], 3 * 25 * 0x1p-24) << i;
    }
  }
}

TEST(Rope, RotatesHeadsOfAStridedViewAndInPlace) {
  constexpr std::int64_t kTokens = 4, kDim = 72;
  const auto qkv = random_floats(kTokens * 6 * kDim, 3), table = random_floats(kTokens * kDim, 4);
  const std::vector<float> zeros(kTokens * 2 * kDim);
  std::vector<float> k;
  for (std::size_t t = 0; t < kTokens; ++t) {
    k.insert(k.end(), qkv.begin() + static_cast<long>((t * 6 + 2) * kDim),
             qkv.begin() + static_cast<long>((t * 6 + 4) * kDim));
  }
  for (const Cpu& cpu : cpus()) {
    auto part = [&](Graph& g) { return ops::slice(g, g.constant(view(qkv, {kTokens, 6, kDim})), 1, 2, 4); };
    auto angles = [&](Graph& g) { return g.constant(view(table, {kTokens, kDim / 2, 2})); };
    const auto dense = run(
        [&](Graph& g) {
          return ops::rope(g, view(k, {kTokens, 2, kDim}), angles(g));
        },
        cpu);
    EXPECT_EQ(dense, run([&](Graph& g) { return ops::rope(g, part(g), angles(g)); }, cpu));
    EXPECT_EQ(dense, run(
                         [&](Graph& g) {
                           const Tensor copy = ops::add(
                               g, part(g), TensorView(DType::kF32, {kTokens, 2, kDim}, zeros.data()));
                           return ops::rope(g, copy, angles(g));
                         },
                         cpu));
  }
}

TEST(Rope, WritesNothingBesideItsToken) {
  for (const Cpu& cpu : cpus()) {
    for (const std::int64_t dim : {2, 14, 18, 30, 34, 72}) {
      const auto x = random_floats(3 * 2 * dim, 5), table = random_floats(3 * dim, 6);
      expect_task_writes_its_row(
          [&](Graph& g) {
            return ops::rope(g, view(x, {3, 2, dim}), view(table, {3, dim / 2, 2}));
          },
          3, cpu);
    }
  }
}

TEST(Rope, RefusesATableOfOtherTokensOrWidth) {
  const std::vector<float> x(2 * 3 * 8), table(16), longer(24);
  expect_usage_error(
      [&](Graph& g) {
        ops::rope(g, view(x, {2, 3, 8}), view(longer, {3, 4, 2}));
      },
      "rope: table is f32[3, 4, 2], x is f32[2, 3, 8]");
  expect_usage_error(
      [&](Graph& g) {
        ops::rope(g, view(x, {2, 24}), view(table, {2, 4, 2}));
      },
      "rope: x is f32[2, 24], expected f32[T, H, d] with even d");
  expect_usage_error(
      [&](Graph& g) {
        ops::rope(g, view(x, {2, 8, 3}), view(table, {2, 4, 2}));
      },
      "rope: x is f32[2, 8, 3], expected f32[T, H, d] with even d");
}

}  // namespace
}  // namespace tessera::testing
