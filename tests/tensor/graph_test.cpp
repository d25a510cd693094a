#include "tensor/graph.h"

#include <gtest/gtest.h>

#include "tensor/error.h"
#include "tests/tensor/small_ops.h"

namespace tessera::testing {
namespace {

struct Variant {
  float factor = 2;
  Shape shape{2, 3};
  bool swap = false;
  bool two_outputs = false;
  const char* name = "a";
  const std::vector<float>* weights = nullptr;
  DType input = DType::kF32;
};

std::uint64_t hash_of(const Variant& v) {
  static const std::vector<float> kWeights(12);
  Graph g;
  const Tensor x = g.input(DType::kF32, v.shape, "x");
  g.input(v.input, {4}, "unused");
  const Tensor w = g.constant(dense(v.weights ? *v.weights : kWeights, v.shape));
  const Tensor y = blend(g, x, v.factor);
  g.name(y, v.name);
  const Tensor z = v.swap ? sum(g, w, y) : sum(g, y, w);
  g.output(z);
  if (v.two_outputs) g.output(y);
  return g.structural_hash();
}

TEST(GraphHash, IsEqualForEqualGraphs) { EXPECT_EQ(hash_of({}), hash_of({})); }

TEST(GraphHash, DiffersForAnythingThatAPlanDependsOn) {
  const std::vector<float> other(12);
  const std::vector<Variant> variants{{},
                                      {.factor = 3},
                                      {.shape = {3, 2}},
                                      {.shape = {6}},
                                      {.swap = true},
                                      {.two_outputs = true},
                                      {.name = "b"},
                                      {.weights = &other},
                                      {.input = DType::kI32}};
  for (std::size_t i = 0; i < variants.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j)
      EXPECT_NE(hash_of(variants[i]), hash_of(variants[j])) << i << ", " << j;
  }
}

TEST(GraphHash, ForgetsWithTheNodes) {
  Graph g;
  const std::uint64_t empty = g.structural_hash();
  g.output(blend(g, g.input(DType::kF32, {2}, "x"), 1));
  EXPECT_NE(g.structural_hash(), empty);
  g.clear();
  EXPECT_EQ(g.structural_hash(), empty);
  EXPECT_EQ(g.slot_count(), 0);
  EXPECT_TRUE(g.outputs().empty());
}

TEST(GraphHash, SeesTheOffsetOfAView) {
  auto hash = [](std::int64_t offset) {
    Graph g;
    const Tensor x = g.input(DType::kF32, {4, 8}, "x");
    g.output(blend(g, g.view(x, TensorDesc::dense(DType::kF32, {2, 8}), offset), 1));
    return g.structural_hash();
  };
  EXPECT_EQ(hash(32), hash(32));
  EXPECT_NE(hash(32), hash(0));
}

TEST(Graph, NamesNodesByTheirScopes) {
  Graph g;
  const Tensor x = g.input(DType::kF32, {2}, "x");
  const Graph::Scope layers(g, "layers");
  Tensor inner;
  {
    const Graph::Scope seven(g, "7");
    inner = blend(g, x, 1);
    EXPECT_EQ(g.node(inner).name, "layers.7");
    g.name(inner, "attn");
  }
  EXPECT_EQ(g.node(inner).name, "layers.7.attn");
  EXPECT_EQ(g.node(blend(g, x, 1)).name, "layers");
  EXPECT_EQ(g.node(x).name, "x");
}

TEST(Graph, ErrorsNameScopeAndOp) {
  const std::vector<float> a(4), b(6);
  Graph g;
  const Graph::Scope outer(g, "vision"), inner(g, "blocks.3");
  try {
    sum(g, dense(a, {4}), dense(b, {6}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(error.what(), "vision.blocks.3: sum: operands differ");
  }
}

TEST(Graph, RefusesHandlesThatItDidNotGive) {
  Graph g;
  EXPECT_THROW(g.output(Tensor{}), Error);
  EXPECT_THROW(blend(g, Tensor{}, 1), Error);
  EXPECT_THROW(blend(g, Tensor{5}, 1), Error);
}

TEST(Graph, NumbersSlotsAndOutputsInOrder) {
  Graph g;
  const Tensor a = g.input(DType::kF32, {2}, "a"), b = g.input(DType::kI32, {3}, "b");
  EXPECT_EQ(g.node(a).slot, 0);
  EXPECT_EQ(g.node(b).slot, 1);
  EXPECT_EQ(g.slot_count(), 2);
  EXPECT_EQ(g.desc(b), TensorDesc::dense(DType::kI32, {3}));
  g.output(b);
  g.output(a);
  EXPECT_EQ(g.outputs()[0].id, b.id);
  EXPECT_EQ(g.outputs()[1].id, a.id);
}

}  // namespace
}  // namespace tessera::testing
