#include "models/qwen3vl/vision.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/ops.h"

namespace tessera::qwen3vl {
namespace {

using namespace ops;

constexpr float kLayerNormEps = 1e-6f;  // not in config.json: fixed in the reference
constexpr double kRopeTheta = 10000;    // likewise

// x [P, E] -> [P, E], not projected yet. Patches attend to those of the same temporal grid.
Tensor attention(Graph& g, const VisionBlockWeights& w, const VisionConfig& c, const Grid& grid,
                 Tensor rope_angles, Tensor x) {
  const Graph::Scope scope(g, "attn");
  const std::int64_t patches = g.shape(x)[0], heads = c.num_heads, d = c.hidden_size / heads;
  const Tensor qkv = reshape(g, matmul(g, x, w.qkv_weight, w.qkv_bias), {patches, 3 * heads, d});
  const Tensor q = rope(g, slice(g, qkv, 1, 0, heads), rope_angles);  // [P, H, d]
  const Tensor k = rope(g, slice(g, qkv, 1, heads, 2 * heads), rope_angles);
  const Tensor v = slice(g, qkv, 1, 2 * heads, 3 * heads);
  const float scale = 1 / std::sqrt(static_cast<float>(d));
  const Tensor y = segment_attention(g, q, k, v, std::int64_t{grid.h} * grid.w, scale);
  return reshape(g, y, {patches, heads * d});
}

// Joins the rows of each merge window and projects them to the width of the text model: [P, E] -> [N, D]. The
// main merger normalises patches before it joins them, the DeepStack mergers whole windows after.
Tensor merge(Graph& g, const MergerWeights& w, std::int64_t window, Tensor x) {
  const Shape shape = g.shape(x);
  const Shape joined{shape[0] / window, shape[1] * window};
  if (w.norm_weight.shape[0] == joined[1]) x = reshape(g, x, joined);
  x = layer_norm(g, x, w.norm_weight, w.norm_bias, {.eps = kLayerNormEps});
  x = matmul(g, reshape(g, x, joined), w.fc1_weight, w.fc1_bias, Gelu::kErf);
  return matmul(g, x, w.fc2_weight, w.fc2_bias);
}

}  // namespace

Tensor vision_forward(Graph& g, const VisionWeights& w, const VisionConfig& c, const VisionInputs& in) {
  const Graph::Scope model(g, "model.visual");
  const Grid& grid = in.grid;
  const std::int64_t window = c.spatial_merge_size * c.spatial_merge_size;
  const Tensor rope_angles = rope_table(g, in.positions,
                                        {.theta = kRopeTheta,
                                         .head_dim = static_cast<std::int32_t>(c.hidden_size / c.num_heads),
                                         .layout = RopeLayout::kGrid});
  const Tensor patches =
      image_patches(g, in.samples, in.levels,
                    {.patch = static_cast<std::int32_t>(c.patch_size),
                     .depth = static_cast<std::int32_t>(c.temporal_patch_size),
                     .merge = static_cast<std::int32_t>(c.spatial_merge_size)});  // [P, 3 * 2 * 16 * 16]
  Tensor x =
      g.name(patch_embed(g, patches, w.patch_embed_weight, w.patch_embed_bias), "patch_embed");  // [P, E]
  const Tensor positions = interpolate_positions(
      g, w.pos_embed,
      {.t = grid.t, .h = grid.h, .w = grid.w, .merge = static_cast<std::int32_t>(c.spatial_merge_size)});
  x = g.name(add(g, x, positions), "pos_embed");

  Tensor features = in.features;
  const auto write = [&](Tensor rows, std::int64_t level) {
    const Shape shape = g.shape(rows);
    features = append_rows(g, features, reshape(g, rows, {shape[0], 1, shape[1]}),
                           slice(g, in.first_rows, 0, level, level + 1));
  };
  for (std::size_t i = 0; i < w.blocks.size(); ++i) {
    const Graph::Scope scope(g, "blocks." + std::to_string(i));
    const VisionBlockWeights& block = w.blocks[i];
    Tensor h = layer_norm(g, x, block.norm1_weight, block.norm1_bias, {.eps = kLayerNormEps});
    h = attention(g, block, c, grid, rope_angles, h);
    x = g.name(matmul_add(g, x, h, block.proj_weight, block.proj_bias), "attn.proj");
    h = layer_norm(g, x, block.norm2_weight, block.norm2_bias, {.eps = kLayerNormEps});
    h = g.name(matmul(g, h, block.fc1_weight, block.fc1_bias, Gelu::kTanh), "mlp.fc1");
    x = g.name(matmul_add(g, x, h, block.fc2_weight, block.fc2_bias), "output");
    const auto& taps = c.deepstack_visual_indexes;
    const auto tap = std::find(taps.begin(), taps.end(), static_cast<std::int64_t>(i));
    if (tap != taps.end()) {
      const auto k = static_cast<std::size_t>(tap - taps.begin());
      const Graph::Scope deepstack(g, "deepstack_merger_list." + std::to_string(k));
      write(merge(g, w.deepstack_mergers[k], window, x), static_cast<std::int64_t>(1 + k));
    }
  }
  const Graph::Scope scope(g, "merger");
  write(merge(g, w.merger, window, x), 0);
  return features;
}

std::vector<std::int32_t> vision_positions(const Grid& grid, std::int64_t merge_size) {
  const int merge = static_cast<int>(merge_size);
  std::vector<std::int32_t> rows, columns;
  for (int t = 0; t < grid.t; ++t) {
    for (int window_row = 0; window_row < grid.h; window_row += merge) {
      for (int window_column = 0; window_column < grid.w; window_column += merge) {
        for (int i = 0; i < merge * merge; ++i) {
          rows.push_back(window_row + i / merge);
          columns.push_back(window_column + i % merge);
        }
      }
    }
  }
  rows.insert(rows.end(), columns.begin(), columns.end());
  return rows;
}

}  // namespace tessera::qwen3vl
