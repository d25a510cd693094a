#include "models/qwen3vl/vision.h"

#include <gtest/gtest.h>

#include "tensor/plan.h"

namespace tessera::testing {
namespace {

using namespace qwen3vl;

TEST(VisionPositions, FollowTheMergeOrder) {
  // The rows of a 4 x 6 grid, from spec/qwen3-vl.md §3.6.
  const std::vector<std::int32_t> expected = {
      0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3, 2, 2, 3, 3,   // rows
      0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5};  // columns
  EXPECT_EQ(vision_positions({1, 4, 6}, 2), expected);
}

// The tower of Qwen3-VL-4B with weights of the right shapes and no memory behind them: planning reads none.
struct Tower4b {
  VisionConfig config;
  VisionWeights weights;

  Tower4b() {
    config.depth = 24;
    config.hidden_size = 1024;
    config.intermediate_size = 4096;
    config.num_heads = 16;
    config.in_channels = 3;
    config.patch_size = 16;
    config.temporal_patch_size = 2;
    config.spatial_merge_size = 2;
    config.out_hidden_size = 2560;
    config.num_position_embeddings = 2304;
    config.deepstack_visual_indexes = {5, 11, 17};
    weights.patch_embed_weight = f32({1024, 3, 2, 16, 16});
    weights.patch_embed_bias = f32({1024});
    weights.pos_embed = f32({2304, 1024});
    const VisionBlockWeights block{f32({1024}),       f32({1024}), f32({3072, 1024}), f32({3072}),
                                   f32({1024, 1024}), f32({1024}), f32({1024}),       f32({1024}),
                                   f32({4096, 1024}), f32({4096}), f32({1024, 4096}), f32({1024})};
    weights.blocks.assign(24, block);
    weights.merger = merger(1024);
    weights.deepstack_mergers.assign(3, merger(4096));
  }
  static TensorView f32(const Shape& shape) { return {DType::kF32, shape, nullptr}; }
  static MergerWeights merger(std::int64_t norm) {
    return {f32({norm}), f32({norm}), f32({4096, 4096}), f32({4096}), f32({2560, 4096}), f32({2560})};
  }
};

TEST(VisionMemory, FullHdPictureStaysUnder350MegabytesBesideTheWeights) {
  const Tower4b tower;
  const Grid grid{1, 68, 120};  // 1088 x 1920 pixels, 8160 patches
  Graph g;
  VisionInputs in;
  in.grid = grid;
  in.samples = g.input(DType::kU8, {1, 1088, 1920, 3}, "samples");
  in.levels = g.input(DType::kF32, {3, 256}, "levels");
  in.positions = g.input(DType::kI32, {2, grid.patches()}, "positions");
  in.features = g.input(DType::kF32, {4 * 2040, 1, 2560}, "features");
  in.first_rows = g.input(DType::kI32, {4}, "first_rows");
  g.output(vision_forward(g, tower.weights, tower.config, in));
  const Plan plan = Plan::make(g, Cpu::from_environment());
  const std::size_t samples = 1088 * 1920 * 3, features = 4 * 2040 * 2560 * sizeof(float);
  EXPECT_LT(plan.bytes(2) + samples + features, 350u * 1000 * 1000) << plan.to_string();
}

}  // namespace
}  // namespace tessera::testing
