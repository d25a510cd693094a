// GELU and sums behind a product: the bits of the steps that they stand for, at every level.
#include <cstring>

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
