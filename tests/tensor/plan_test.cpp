#include "tensor/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tensor/buffer.h"
#include "tests/tensor/small_ops.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr std::int64_t kRow = 16 * sizeof(float);  // one aligned unit

class PlanTest : public ::testing::Test {
 protected:
  Tensor constant() { return g_.constant(dense(values_, {4, 16})); }
  Plan plan() const { return Plan::make(g_, Cpu()); }
  static std::int64_t offset(const PlacedTensor& tensor) {
    EXPECT_EQ(tensor.place.kind, Place::Kind::kArena);
    return tensor.place.offset;
  }

  const std::vector<float> values_ = std::vector<float>(64, 1.0f);
  Graph g_;
};

TEST_F(PlanTest, WritesOverAnInputThatNobodyReadsLater) {
  const Tensor a = blend(g_, constant(), 1), b = blend(g_, a, 2);
  g_.output(b);
  const Plan p = plan();
  EXPECT_EQ(offset(p.steps()[1].inputs[0]), offset(p.steps()[1].output));
  EXPECT_EQ(p.arena_bytes(), 4u * kRow);
}

TEST_F(PlanTest, KeepsAnInputThatIsReadLater) {
  const Tensor a = blend(g_, constant(), 1), b = blend(g_, a, 2);
  g_.output(sum(g_, a, b));
  const Plan p = plan();
  EXPECT_NE(offset(p.steps()[1].inputs[0]), offset(p.steps()[1].output));
  EXPECT_EQ(offset(p.steps()[2].output), offset(p.steps()[2].inputs[0]));
}

TEST_F(PlanTest, TakesTheSecondInputWhereTheFirstIsNeeded) {
  const Tensor a = blend(g_, constant(), 1), b = blend(g_, constant(), 2);
  const Tensor c = sum(g_, a, b);
  g_.output(sum(g_, a, c));
  const Plan p = plan();
  EXPECT_EQ(offset(p.steps()[2].output), offset(p.steps()[2].inputs[1]));
}

TEST_F(PlanTest, NeverWritesOverConstantsSlotsOrOutputs) {
  const Tensor slot = g_.input(DType::kF32, {4, 16}, "x");
  const Tensor a = blend(g_, constant(), 1), b = blend(g_, slot, 1);
  const Tensor kept = g_.output(a);
  g_.output(sum(g_, blend(g_, kept, 2), b));
  const Plan p = plan();
  EXPECT_EQ(p.steps()[0].inputs[0].place.kind, Place::Kind::kConstant);
  EXPECT_EQ(p.steps()[1].inputs[0].place.kind, Place::Kind::kSlot);
  EXPECT_EQ(p.steps()[0].output.place.kind, Place::Kind::kArena);
  EXPECT_EQ(p.steps()[1].output.place.kind, Place::Kind::kArena);
  for (std::size_t i = 1; i < p.steps().size(); ++i) {
    EXPECT_NE(offset(p.steps()[i].output), offset(p.outputs()[0])) << "step " << i;
  }
}

TEST_F(PlanTest, DoesNotWriteOverAValueReadTwiceByTheStep) {
  const Tensor a = blend(g_, constant(), 1);
  g_.output(sum(g_, a, a));
  const Plan p = plan();
  EXPECT_NE(offset(p.steps()[1].output), offset(p.steps()[1].inputs[0]));
}

TEST_F(PlanTest, DoesNotWriteOverPartOfAValue) {
  const Tensor a = blend(g_, constant(), 1);
  const Tensor half = g_.view(a, TensorDesc::dense(DType::kF32, {2, 16}), 2 * kRow);
  g_.output(blend(g_, half, 1));
  const Plan p = plan();
  EXPECT_NE(offset(p.steps()[1].output), offset(p.steps()[1].inputs[0]));
  EXPECT_NE(offset(p.steps()[1].output), offset(p.steps()[0].output));
}

TEST_F(PlanTest, ViewsAreNoSteps) {
  const Tensor a = blend(g_, constant(), 1);
  const Tensor half = g_.view(a, TensorDesc::dense(DType::kF32, {2, 16}), 2 * kRow);
  const Tensor quarter = g_.view(half, TensorDesc::dense(DType::kF32, {1, 16}), kRow);
  g_.output(quarter);
  const Plan p = plan();
  EXPECT_EQ(p.steps().size(), 1u);
  EXPECT_EQ(offset(p.outputs()[0]), offset(p.steps()[0].output) + 3 * kRow);
  EXPECT_EQ(p.outputs()[0].desc.shape, (Shape{1, 16}));
}

TEST_F(PlanTest, AViewKeepsTheWholeValueAlive) {
  const Tensor a = blend(g_, constant(), 1);
  const Tensor row = g_.view(a, TensorDesc::dense(DType::kF32, {4, 16}), 0);
  const Tensor b = blend(g_, constant(), 2);
  g_.output(sum(g_, b, row));
  const Plan p = plan();
  EXPECT_NE(offset(p.steps()[1].output), offset(p.steps()[0].output));
}

TEST_F(PlanTest, OutputsStayAliveToTheEnd) {
  const Tensor first = g_.output(blend(g_, constant(), 1));
  Tensor x = blend(g_, constant(), 2);
  for (int i = 0; i < 5; ++i) x = sum(g_, x, constant());
  g_.output(x);
  const Plan p = plan();
  for (std::size_t i = 1; i < p.steps().size(); ++i) {
    EXPECT_NE(offset(p.steps()[i].output), offset(p.outputs()[0]));
  }
  EXPECT_EQ(p.arena_bytes(), 2u * 4 * kRow);
  EXPECT_EQ(first.id, g_.outputs()[0].id);
}

TEST_F(PlanTest, AnOpThatWritesItsInputReturnsThatMemory) {
  const Tensor slot = g_.input(DType::kF32, {4, 16}, "cache");
  const Tensor cache = store(g_, slot, constant());
  g_.output(blend(g_, cache, 1));
  const Plan p = plan();
  EXPECT_EQ(p.steps()[0].output.place.kind, Place::Kind::kSlot);
  EXPECT_EQ(p.steps()[0].output.place.slot, 0);
  EXPECT_EQ(p.steps()[1].inputs[0].place.kind, Place::Kind::kSlot);
  EXPECT_EQ(p.arena_bytes(), 4u * kRow);
  EXPECT_THAT(p.to_string(), HasSubstr("slot 0"));
}

TEST_F(PlanTest, AWrittenIntermediateLivesOn) {
  const Tensor a = blend(g_, constant(), 1);
  const Tensor written = store(g_, a, constant());
  const Tensor other = blend(g_, constant(), 3);
  g_.output(sum(g_, other, written));
  const Plan p = plan();
  EXPECT_EQ(offset(p.steps()[1].output), offset(p.steps()[0].output));
  EXPECT_NE(offset(p.steps()[2].output), offset(p.steps()[0].output));
}

TEST_F(PlanTest, SaysWhatItWillNeed) {
  g_.output(blend(g_, constant(), 1));
  const Plan p = plan();
  EXPECT_EQ(p.workspace_bytes_per_thread(), 64u);
  EXPECT_EQ(p.bytes(1), 4u * kRow + 64);
  EXPECT_EQ(p.bytes(3), 4u * kRow + 3 * 64);
  EXPECT_EQ(p.cost().bytes, 8 * 64);
  EXPECT_EQ(p.cost().flops, 2 * 64);
}

TEST_F(PlanTest, PrintsOneLineAStep) {
  {
    const Graph::Scope scope(g_, "block.1");
    g_.output(g_.name(blend(g_, constant(), 1), std::string(600, 'n')));
  }
  const std::string text = plan().to_string();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text,
              MatchesRegex(" step  op +kernel +shape +offset +bytes +FLOPs  name\n"
                           "    0  blend +blend_ref +\\[4, 16\\] +0 +512 +128  block.1.n+\n"
                           "arena 256 bytes, workspace 64 bytes a thread, 512 bytes moved, 128 FLOPs\n"));
}

TEST_F(PlanTest, OfNoStepsHoldsItsOutputs) {
  g_.output(g_.input(DType::kF32, {4}, "x"));
  const Plan p = plan();
  EXPECT_TRUE(p.steps().empty());
  EXPECT_EQ(p.bytes(4), 0u);
  EXPECT_EQ(p.outputs()[0].place.kind, Place::Kind::kSlot);
}

class PlanCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Plan> get(PlanCache& cache, float factor) {
    Graph g;
    g.output(blend(g, dense(values_, {4, 4}), factor));
    return cache.get(g);
  }
  const std::vector<float> values_ = std::vector<float>(16);
};

TEST_F(PlanCacheTest, ReturnsTheSamePlanForTheSameGraph) {
  PlanCache cache{Cpu()};
  const auto one = get(cache, 1);
  EXPECT_NE(get(cache, 2), one);
  EXPECT_EQ(get(cache, 1), one);
}

TEST_F(PlanCacheTest, ForgetsTheOneUsedLeastRecently) {
  PlanCache cache(Cpu(), 2);
  const auto one = get(cache, 1), two = get(cache, 2);
  EXPECT_EQ(get(cache, 1), one);
  get(cache, 3);
  EXPECT_EQ(get(cache, 1), one);
  EXPECT_NE(get(cache, 2), two);
}

TEST_F(PlanCacheTest, OfCapacityZeroStillPlans) {
  PlanCache cache(Cpu(), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(get(cache, static_cast<float>(i))->steps().size(), 1u);
}

}  // namespace
}  // namespace tessera::testing
