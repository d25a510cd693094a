// GELU, sums and gates behind a product: the bits of the steps that they stand for, at every level.
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "ops/op_util.h"
#include "tests/ops/blocks.h"
#include "tests/ops/op_test.h"
#include "tests/ops/weights.h"

namespace tessera::testing {
namespace {

struct Extents {
  std::int64_t rows, n, k;
};

struct Operands {
  std::vector<float> x, bias, a;
  Extents extents;
  explicit Operands(const Extents& e)
      : x(random_floats(e.rows * e.k, 1)),
        bias(random_floats(e.n, 2)),
        a(random_floats(e.rows * e.n, 3)),
        extents(e) {}
};

void expect_same_bits(const std::vector<float>& fused, const std::vector<float>& steps) {
  ASSERT_EQ(fused.size(), steps.size());
  EXPECT_EQ(std::memcmp(fused.data(), steps.data(), steps.size() * sizeof(float)), 0);
}

void expect_steps(const TensorView& w, const Operands& o, const Cpu& cpu) {
  const auto& [rows, n, k] = o.extents;
  const TensorView x = view(o.x, {rows, k}), bias = view(o.bias, {n}), a = view(o.a, {rows, n});
  const Shape shape{rows, n, k};
  SCOPED_TRACE(std::string(name(cpu.best())) + " " + std::string(info(w.dtype).name) + shape.to_string());
  for (const ops::Gelu kind : {ops::Gelu::kTanh, ops::Gelu::kErf}) {
    expect_same_bits(run([&](Graph& g) { return ops::matmul(g, x, w, bias, kind); }, cpu),
                     run([&](Graph& g) { return ops::gelu(g, ops::matmul(g, x, w, bias), kind); }, cpu));
  }
  expect_same_bits(run([&](Graph& g) { return ops::matmul_add(g, a, x, w, bias); }, cpu),
                   run([&](Graph& g) { return ops::add(g, a, ops::matmul(g, x, w, bias)); }, cpu));
  expect_same_bits(run([&](Graph& g) { return ops::matmul_add(g, a, x, w); }, cpu),
                   run([&](Graph& g) { return ops::add(g, a, ops::matmul(g, x, w)); }, cpu));
}

TEST(MatmulThen, GivesTheBitsOfTheSteps) {
  // One tile and several, whole ones and ends of them.
  for (const Extents& e : {Extents{1, 70, 256}, {3, 17, 512}, {2, 530, 256}, {290, 34, 256}}) {
    const Operands operands(e);
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      const FileWeight w(dtype, {e.n, e.k}, 4);
      const ops::PackedWeight packed = ops::pack_weight(w.view, 2);
      for (const Cpu& cpu : cpus()) {
        expect_steps(w.view, operands, cpu);
        if (packed.view.layout != 0) expect_steps(packed.view, operands, cpu);
      }
    }
    for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
      const auto w = BlockWeight::encoded(dtype, random_floats(e.n * e.k, 5), e.n, e.k);
      const ops::PackedWeight packed = ops::pack_weight(w.view(), 2);
      for (const Cpu& cpu : cpus()) expect_steps(packed.view, operands, cpu);
    }
  }
}

// A gate and what it gates, one after the other and as one step.
struct Gated {
  TensorView x, gate, up, next;

  Tensor steps(Graph& g) const {
    const auto products = ops::matmul_each(g, x, {gate, up});
    return ops::silu_mul(g, products[0], products[1]);
  }
  Tensor fused(Graph& g) const { return ops::matmul_silu_mul(g, x, gate, up, next); }

  void expect_same_bits_for_next(const Cpu& cpu) const {
    SCOPED_TRACE(std::string(name(cpu.best())) + " " + ops::describe(x) + " " + ops::describe(gate));
    expect_same_bits(run([&](Graph& g) { return ops::matmul(g, fused(g), next); }, cpu),
                     run([&](Graph& g) { return ops::matmul(g, steps(g), next); }, cpu));
  }
};

ops::PackedWeight packed_blocks(DType dtype, std::int64_t n, std::int64_t k, unsigned seed) {
  return ops::pack_weight(BlockWeight::encoded(dtype, random_floats(n * k, seed), n, k).view(), 1);
}

TEST(MatmulThen, GatesWithTheBitsOfTheSteps) {
  constexpr std::int64_t kK = 256;
  // One tile and several, whole ones and ends of them; codes are of whole groups.
  for (const auto& [rows, n] : {std::pair{1, 64}, {2, 32}, {3, 544}, {290, 96}, {2, 17}, {290, 70}}) {
    const auto x = random_floats(rows * kK, 1);
    const FileWeight floats(DType::kBF16, {5, n}, 2);
    std::vector<TensorView> readers{floats.view};
    ops::PackedWeight blocks;
    if (n % 32 == 0) readers.push_back((blocks = packed_blocks(DType::kQ8_0, 5, n, 3)).view);
    const auto expect = [&](const TensorView& gate, const TensorView& up) {
      for (const TensorView& next : readers) {
        for (const Cpu& cpu : cpus())
          Gated{view(x, {1, rows, kK}), gate, up, next}.expect_same_bits_for_next(cpu);
      }
    };
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      const FileWeight gate(dtype, {n, kK}, 4), up(dtype, {n, kK}, 5);
      expect(gate.view, up.view);
      const ops::PackedWeight packed[] = {ops::pack_weight(gate.view, 1), ops::pack_weight(up.view, 1)};
      if (packed[0].view.layout != 0) expect(packed[0].view, packed[1].view);
    }
    for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
      expect(packed_blocks(dtype, n, kK, 4).view, packed_blocks(dtype, n, kK, 5).view);
    }
  }
}

TEST(MatmulThen, GatesInOneStepWhereThatIsFaster) {
  using Names = std::vector<std::string>;
  constexpr std::int64_t kN = 64, kK = 256;
  const ops::PackedWeight gate = packed_blocks(DType::kQ4_0, kN, kK, 1),
                          up = packed_blocks(DType::kQ4_0, kN, kK, 2),
                          other = packed_blocks(DType::kQ8_0, kN, kK, 3),
                          next = packed_blocks(DType::kQ4_0, 5, kN, 4);
  const FileWeight floats(DType::kBF16, {5, kN}, 5);
  const auto steps = [&](std::int64_t rows, const TensorView& second, const TensorView& reader) {
    const auto x = random_floats(rows * kK, 1);
    Graph g;
    g.output(ops::matmul(g, Gated{view(x, {rows, kK}), gate.view, second, reader}.fused(g), reader));
    return step_names(Plan::make(g, Cpu::from_environment()));
  };
  EXPECT_EQ(steps(2, up.view, next.view), (Names{"quantize_rows", "matmul", "matmul"}));
  EXPECT_EQ(steps(2, up.view, floats.view), (Names{"quantize_rows", "matmul", "matmul"}));
  EXPECT_EQ(steps(1, up.view, floats.view), (Names{"quantize_rows", "matmul", "silu_mul", "matmul"}));
  EXPECT_EQ(steps(1, up.view, next.view),
            (Names{"quantize_rows", "matmul", "silu_mul", "quantize_rows", "matmul"}));
  EXPECT_EQ(steps(2, other.view, floats.view),
            (Names{"quantize_rows", "matmul", "matmul", "silu_mul", "matmul"}));
}

TEST(MatmulThen, CountsAGateAsItsSteps) {
  const auto x = random_floats(2 * 256, 1);
  const ops::PackedWeight gate = packed_blocks(DType::kQ4_0, 64, 256, 1),
                          up = packed_blocks(DType::kQ4_0, 64, 256, 2),
                          next = packed_blocks(DType::kQ4_0, 5, 64, 3);
  const FileWeight floats(DType::kBF16, {5, 64}, 4);
  for (const TensorView& reader : {floats.view, next.view}) {
    const Gated gated{view(x, {2, 256}), gate.view, up.view, reader};
    const auto flops = [&](const std::function<Tensor(Graph&)>& build) {
      Graph g;
      g.output(ops::matmul(g, build(g), reader));
      return Plan::make(g, Cpu::from_environment()).cost().flops;
    };
    EXPECT_EQ(flops([&](Graph& g) { return gated.fused(g); }),
              flops([&](Graph& g) { return gated.steps(g); }));
  }
}

TEST(MatmulThen, RefusesAGateOfAnotherShape) {
  const std::vector<float> x(6), gate(15), up(12);
  expect_usage_error(
      [&](Graph& g) {
        ops::matmul_silu_mul(g, view(x, {2, 3}), view(gate, {5, 3}), view(up, {4, 3}), view(gate, {3, 5}));
      },
      "matmul: up is f32[4, 3], gate is f32[5, 3]");
}

TEST(MatmulThen, GivesFloatsToAReaderOfOtherExtents) {
  const auto x = random_floats(2 * 256, 1);
  const ops::PackedWeight gate = packed_blocks(DType::kQ4_0, 64, 256, 1),
                          up = packed_blocks(DType::kQ4_0, 64, 256, 2),
                          wider = packed_blocks(DType::kQ4_0, 5, 96, 3);
  expect_usage_error(
      [&](Graph& g) {
        ops::matmul(g, Gated{view(x, {2, 256}), gate.view, up.view, wider.view}.fused(g), wider.view);
      },
      "matmul: x is f32[2, 64], expected dense f32 rows of 96, for w q4_0[5, 96]");
}

TEST(MatmulThen, RefusesAnAddendOfAnotherShape) {
  const std::vector<float> x(6), w(15), a(10), bias(5);
  const auto refused = [&](const Shape& shape, const std::string& message) {
    expect_usage_error(
        [&](Graph& g) {
          ops::matmul_add(g, view(a, shape), view(x, {2, 3}), view(w, {5, 3}), view(bias, {5}));
        },
        "matmul: " + message);
  };
  refused({5, 2}, "a is f32[5, 2], expected dense f32[2, 5]");
  refused({10}, "a is f32[10], expected dense f32[2, 5]");
}

TEST(MatmulThen, CountsWhatIsAdded) {
  const Operands o({2, 16, 64});
  const FileWeight w(DType::kBF16, {16, 64}, 1);
  const auto bytes = [&](bool add) {
    Graph g;
    const TensorView x = view(o.x, {2, 64});
    g.output(add ? ops::matmul_add(g, view(o.a, {2, 16}), x, w.view) : ops::matmul(g, x, w.view));
    return Plan::make(g, Cpu::from_environment()).cost().bytes;
  };
  EXPECT_EQ(bytes(true) - bytes(false), 2 * 16 * 4);
}

}  // namespace
}  // namespace tessera::testing
