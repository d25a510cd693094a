#include <cstring>
#include <limits>

#include "tensor/error.h"
#include "tests/ops/tiles.h"
#include "tests/ops/weights.h"

namespace tessera::testing {
namespace {

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

struct Case {
  const TensorView& weight;  // as in a file or packed
  const std::vector<float>&x, &bias;
  const Product& expected;
  std::int64_t rows;

  std::vector<float> run(const Cpu& cpu, int threads = 1) const { return run_rows(cpu, 0, rows, threads); }
  std::vector<float> run_rows(const Cpu& cpu, std::int64_t begin, std::int64_t end, int threads = 1) const {
    const std::int64_t k = weight.shape[1];
    const TensorView part(DType::kF32, {end - begin, k}, x.data() + begin * k);
    return testing::run(
        [&](Graph& g) {
          if (bias.empty()) return ops::matmul(g, part, weight);
          return ops::matmul(g, part, weight, view(bias, {weight.shape[0]}));
        },
        cpu, threads);
  }
};

struct Sizes {
  std::int64_t rows, n, k;
};

// Calls `test` for each dtype, as in a file and packed, with every level.
void for_each_weight(const Sizes& s, const std::function<void(const Case&, const Cpu&)>& test,
                     bool with_bias = true) {
  for (const DType dtype : kDTypes) {
    const FileWeight w(dtype, {s.n, s.k}, 1);
    const ops::PackedWeight packed = ops::pack_weight(w.view, 2);
    const auto x = random_floats(s.rows * s.k, 2), bias = random_floats(with_bias ? s.n : 0, 3);
    const Product unrounded(x, w.values, bias, s.rows, s.n, s.k);
    const Product rounded(as_bf16(x), as_bf16(w.values), bias, s.rows, s.n, s.k);
    for (const TensorView* weight : {static_cast<const TensorView*>(&w.view), &packed.view}) {
      for (const Cpu& cpu : cpus()) {
        const Product& expected = rounds_to_bf16(cpu, s.rows, *weight) ? rounded : unrounded;
        SCOPED_TRACE(std::string(name(cpu.best())) + " " + std::string(info(dtype).name) + " layout " +
                     std::to_string(weight->layout) + " n " + std::to_string(s.n) + " k " +
                     std::to_string(s.k));
        test({*weight, x, bias, expected, s.rows}, cpu);
      }
    }
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Matmul, MatchesDoubleForEveryFormatAndTail) {
  const auto check = [](const Case& c, const Cpu& cpu) { c.expected.expect(c.run(cpu)); };
  for (const std::int64_t n : {1, 15, 17, 33, 300}) {
    for (const std::int64_t k : {1, 31, 33, 300}) {
      for (const std::int64_t rows : {1, 14}) for_each_weight({rows, n, k}, check);
    }
  }
  for_each_weight({1, 17, 4304}, check);
  for_each_weight({169, 280, 67}, check);
  for_each_weight({400, 33, 67}, check);
  for_each_weight({3, 33, 300}, check, /*with_bias=*/false);
}

TEST(Matmul, KeepsLeadingExtents) {
  const FileWeight w(DType::kBF16, {5, 12}, 1);
  const auto x = random_floats(2 * 3 * 12, 2);
  Graph g;
  EXPECT_EQ(g.shape(ops::matmul(g, view(x, {2, 3, 12}), w.view)), (Shape{2, 3, 5}));
  EXPECT_EQ(g.shape(ops::matmul(g, TensorView(DType::kF32, {12}, x.data()), w.view)), (Shape{5}));
}

TEST(Matmul, GivesARowTheSameBitsAmongAnyOthers) {
  for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{33, 300}, {130, 131}}) {
    for_each_weight({200, n, k}, [n = n](const Case& c, const Cpu& cpu) {
      if (c.weight.dtype == DType::kF32) return;  // below
      // Where x is rounded to bf16 that is so among two or more.
      const bool rounds = rounds_to_bf16(cpu, c.rows, c.weight);
      std::vector<float> alone;
      if (rounds) alone = c.run(cpu);
      for (std::int64_t m = 0; m < c.rows && !rounds; ++m) {
        const auto y = c.run_rows(cpu, m, m + 1);
        alone.insert(alone.end(), y.begin(), y.end());
      }
      for (std::int64_t rows = 2; rows <= c.rows; rows += rows < 70 ? 1 : 65) {
        const auto y = c.run_rows(cpu, c.rows - rows, c.rows);
        ASSERT_TRUE(same_bits(y, {alone.end() - rows * n, alone.end()})) << rows << " rows";
      }
    });
  }
}

// OpenBLAS chooses kernels and blocks by the shape of a call; matmul keeps a row's bits all the same, among
// two or more and wherever it stands.
TEST(Matmul, GivesAnF32RowTheSameBitsAmongTwoOrMore) {
  const Cpu cpu = Cpu::from_environment();
  for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{17, 64}, {136, 1000}, {200, 4304}}) {
    const FileWeight w(DType::kF32, {n, k}, 1);
    const auto x = random_floats(400 * k, 2);
    const Product unused({}, {}, {}, 0, n, k);
    const Case c{w.view, x, {}, unused, 400};
    const auto all = c.run(cpu);
    for (std::int64_t rows = 2; rows <= 400; rows += rows < 40 ? 1 : 37) {
      const auto first = c.run_rows(cpu, 0, rows);
      ASSERT_TRUE(same_bits(first, {all.begin(), all.begin() + rows * n})) << rows << " rows, n " << n;
      const std::int64_t begin = 400 - rows;
      const auto inner = c.run_rows(cpu, begin, begin + rows);
      ASSERT_TRUE(same_bits(inner, {all.begin() + begin * n, all.begin() + (begin + rows) * n}))
          << rows << " rows from " << begin << ", n " << n;
    }
  }
}

TEST(Matmul, GivesTheSameBitsForAnyNumberOfThreads) {
  for_each_weight({200, 300, 64}, [](const Case& c, const Cpu& cpu) {
    const auto one = c.run(cpu, 1);
    for (const int threads : {2, 3, 7}) EXPECT_TRUE(same_bits(c.run(cpu, threads), one)) << threads;
  });
}

TEST(Matmul, LetsNaNAndInfinityThrough) {
  auto x = random_floats(15 * 33, 2);
  x[4 * 33 + 32] = std::numeric_limits<float>::quiet_NaN();
  x[9 * 33] = std::numeric_limits<float>::infinity();
  for_each_weight({15, 17, 33}, [&](const Case& c, const Cpu& cpu) {
    const auto y = Case{c.weight, x, c.bias, c.expected, 15}.run(cpu);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t row = i / 17;
      ASSERT_EQ(std::isnan(y[i]), row == 4) << "at " << i;
      ASSERT_EQ(std::isinf(y[i]), row == 9) << "at " << i;
    }
  });
}

TEST(Matmul, HandlesNoRows) {
  for_each_weight({0, 17, 33}, [](const Case& c, const Cpu& cpu) { EXPECT_TRUE(c.run(cpu).empty()); });
}

TEST(Matmul, CountsBytesAndFlops) {
  const FileWeight w(DType::kBF16, {20, 6}, 1);
  const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
  const std::vector<float> x(3 * 6);
  Graph g;
  g.output(ops::matmul(g, view(x, {3, 6}), packed.view));
  const OpCost cost = Plan::make(g, Cpu::detect()).cost();
  EXPECT_EQ(cost.flops, 2 * 3 * 20 * 6);
  EXPECT_EQ(cost.bytes, 2 * 32 * 6 + 4 * 3 * (20 + 6));
}

std::string error_of(const std::function<void(Graph&)>& build) {
  Graph g;
  try {
    build(g);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.what();
  }
  return "no error";
}

TEST(Matmul, RefusesOperandsThatDoNotFit) {
  const std::vector<float> x(2 * 6), w(3 * 5), bias(4);
  const std::vector<std::int32_t> ids(15);
  const TensorView x5(DType::kF32, {2, 5}, x.data()), w5 = view(w, {3, 5});
  EXPECT_EQ(error_of([&](Graph& g) {
              ops::matmul(g, view(x, {2, 6}), w5);
            }),
            "matmul: x is f32[2, 6], expected dense f32 rows of 5, for w f32[3, 5]");
  EXPECT_EQ(error_of([&](Graph& g) { ops::matmul(g, x5, w5, view(bias, {4})); }),
            "matmul: bias is f32[4], expected f32[3]");
  EXPECT_EQ(error_of([&](Graph& g) {
              ops::matmul(g, x5, view(ids, {3, 5}));
            }),
            "matmul: w is i32[3, 5], expected a matrix of f32, f16 or bf16, or one packed by pack_weight");
  EXPECT_EQ(error_of([&](Graph& g) { ops::matmul(g, x5, TensorView(DType::kF32, {5}, w.data())); }),
            "matmul: w is f32[5], expected a matrix of f32, f16 or bf16, or one packed by pack_weight");
  EXPECT_EQ(error_of([&](Graph& g) {
              ops::matmul(g, ops::slice(g, g.constant(view(x, {2, 6})), 1, 0, 5), w5);
            }),
            "matmul: x is f32[2, 5], expected dense f32 rows of 5, for w f32[3, 5]");
}

// ---- pack_weight ----

TEST(PackWeight, KeepsValuesOfUnalignedSources) {
  for (const DType dtype : kDTypes) {
    for (const std::size_t shift : {0, 1, 2, 3}) {
      const FileWeight w(dtype, {33, 31}, 1, shift);
      const ops::PackedWeight packed = ops::pack_weight(w.view, 2);
      const auto x = random_floats(5 * 31, 2);
      const auto y = run([&](Graph& g) { return ops::matmul(g, view(x, {5, 31}), packed.view); });
      const bool rounds = rounds_to_bf16(Cpu::from_environment(), 5, packed.view);
      Product(as_multiplied(x, rounds), as_multiplied(w.values, rounds), {}, 5, 33, 31).expect(y);
    }
  }
}

TEST(PackWeight, LaysBf16OutInPairs) {
  const FileWeight w(DType::kBF16, {18, 3}, 1);
  const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
  ASSERT_EQ(packed.memory.size(), 2u * 2 * 64);
  EXPECT_EQ(packed.view.shape, (Shape{18, 3}));
  EXPECT_NE(packed.view.layout, 0);
  const auto* bits = packed.view.as<std::uint16_t>();
  const auto at = [&](std::size_t n, std::size_t k) { return quant::f32_to_bf16(w.values[n * 3 + k]); };
  EXPECT_EQ(bits[0], at(0, 0));
  EXPECT_EQ(bits[1], at(0, 1));
  EXPECT_EQ(bits[2], at(1, 0));
  EXPECT_EQ(bits[32], at(0, 2));
  EXPECT_EQ(bits[33], 0);                  // no k = 3
  EXPECT_EQ(bits[64 + 2 + 1], at(17, 1));  // second panel
  EXPECT_EQ(bits[64 + 4], 0);              // no row 18
}

TEST(PackWeight, LaysF16OutByInput) {
  const FileWeight w(DType::kF16, {18, 3}, 1);
  const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
  ASSERT_EQ(packed.memory.size(), 2u * 3 * 32);
  const auto* bits = packed.view.as<std::uint16_t>();
  EXPECT_EQ(bits[5], quant::f32_to_f16(w.values[5 * 3]));
  EXPECT_EQ(bits[16 + 5], quant::f32_to_f16(w.values[5 * 3 + 1]));
  EXPECT_EQ(bits[48 + 32 + 1], quant::f32_to_f16(w.values[17 * 3 + 2]));
  EXPECT_EQ(bits[48 + 2], 0);
}

TEST(PackWeight, ReadsAlignedF32InPlace) {
  const FileWeight w(DType::kF32, {4, 2, 3}, 1), shifted(DType::kF32, {4, 6}, 1, 2);
  const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
  EXPECT_EQ(packed.view.data, w.view.data);
  EXPECT_EQ(packed.memory.size(), 0u);
  EXPECT_EQ(packed.view.shape, (Shape{4, 6}));
  EXPECT_NE(ops::pack_weight(shifted.view, 1).view.data, shifted.view.data);
}

TEST(PackWeight, RefusesWhatIsNoWeight) {
  const std::vector<float> w(12);
  const ops::PackedWeight packed = ops::pack_weight(FileWeight(DType::kF16, {3, 4}, 1).view, 1);
  EXPECT_EQ(error_of([&](Graph&) { ops::pack_weight(view(w, {12}), 1); }),
            "pack_weight: w is f32[12], expected a dense matrix of f32, f16, bf16 or whole blocks");
  EXPECT_EQ(error_of([&](Graph&) { ops::pack_weight(packed.view, 1); }),
            "pack_weight: w is f16[3, 4], expected a dense matrix of f32, f16, bf16 or whole blocks");
}

// ---- patch_embed ----

TEST(PatchEmbed, TakesTheKernelAsInAFileAndPacked) {
  for (const DType dtype : kDTypes) {
    const FileWeight w(dtype, {20, 3, 2, 4, 4}, 1);
    const auto patches = random_floats(7 * 96, 2), bias = random_floats(20, 3);
    const ops::PackedWeight packed = ops::pack_weight(w.view, 1);
    for (const TensorView* weight : {static_cast<const TensorView*>(&w.view), &packed.view}) {
      const auto y = run([&](Graph& g) {
        return ops::patch_embed(g, view(patches, {7, 96}), *weight, view(bias, {20}));
      });
      const bool rounds = rounds_to_bf16(Cpu::from_environment(), 7, *weight);
      Product(as_multiplied(patches, rounds), as_multiplied(w.values, rounds), bias, 7, 20, 96).expect(y);
    }
  }
}

TEST(PatchEmbed, RefusesAVector) {
  const std::vector<float> w(12), bias(12), patches(12);
  EXPECT_EQ(error_of([&](Graph& g) {
              ops::patch_embed(g, view(patches, {1, 12}), view(w, {12}), view(bias, {12}));
            }),
            "patch_embed: w is f32[12], expected a dense kernel [N, c, t, h, w] or its packed form");
}

}  // namespace
}  // namespace tessera::testing
