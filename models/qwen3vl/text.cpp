#include "models/qwen3vl/text.h"

#include <cmath>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace tessera::qwen3vl {
namespace {

using namespace ops;

// T rows of n heads: [T, n * d] -> [T, n, d].
Tensor split_heads(Graph& g, Tensor x, std::int64_t d) {
  const Shape& shape = g.shape(x);
  return reshape(g, x, {shape[0], shape[1] / d, d});
}

// x [T, D] -> [T, Q], not projected yet.
Tensor self_attention(Graph& g, const DecoderLayerWeights& w, const TextConfig& c, const LayerCache& cache,
                      const TextInputs& in, Tensor rope_angles, Tensor x) {
  const Graph::Scope scope(g, "self_attn");
  const std::int64_t d = c.head_dim;
  const std::vector<Tensor> qkv = matmul_each(g, x, {w.q_proj, w.k_proj, w.v_proj});
  Tensor q = split_heads(g, qkv[0], d);  // [T, H, d]
  Tensor k = split_heads(g, qkv[1], d);  // [T, G, d]
  const Tensor v = split_heads(g, qkv[2], d);
  q = rope(g, rms_norm(g, q, w.q_norm, {.eps = c.rms_norm_eps}), rope_angles);
  k = rope(g, rms_norm(g, k, w.k_norm, {.eps = c.rms_norm_eps}), rope_angles);
  const Tensor keys = append_rows(g, cache.keys, k, in.past);  // [C, G, d]
  const Tensor values = append_rows(g, cache.values, v, in.past);
  const float scale = 1 / std::sqrt(static_cast<float>(d));
  const Tensor y = causal_attention(g, q, keys, values, in.past, scale);
  return reshape(g, y, {g.shape(y)[0], g.shape(y)[1] * d});
}

// x [T, D] -> [T, I], or its codes where down_proj has a block format.
Tensor mlp(Graph& g, const DecoderLayerWeights& w, Tensor x) {
  const Graph::Scope scope(g, "mlp");
  return matmul_silu_mul(g, x, w.gate_proj, w.up_proj, w.down_proj);
}

}  // namespace

Tensor text_forward(Graph& g, const TextWeights& w, const TextConfig& c, const TextInputs& in,
                    LogitRows rows) {
  const Graph::Scope model(g, "model.language_model");
  const auto section = [&](std::size_t axis) { return static_cast<std::int32_t>(c.mrope_section[axis]); };
  const RopeLayout layout = c.mrope_interleaved ? RopeLayout::kInterleaved : RopeLayout::kChunked;
  const Tensor rope_angles = rope_table(g, in.positions,
                                        {.theta = c.rope_theta,
                                         .head_dim = static_cast<std::int32_t>(c.head_dim),
                                         .layout = layout,
                                         .sections = {section(0), section(1), section(2)}});
  Tensor x = embedding(g, w.embed_tokens, in.tokens);  // [T, D]
  if (in.visual_index) x = scatter_rows(g, x, in.visual_rows, in.visual_index);
  g.name(x, "embed_tokens");

  for (std::size_t i = 0; i < w.layers.size(); ++i) {
    const Graph::Scope scope(g, "layers." + std::to_string(i));
    const DecoderLayerWeights& layer = w.layers[i];
    Tensor h = rms_norm(g, x, layer.input_layernorm, {.eps = c.rms_norm_eps});
    h = self_attention(g, layer, c, in.cache[i], in, rope_angles, h);
    x = g.name(matmul_add(g, x, h, layer.o_proj), "self_attn.o_proj");
    h = mlp(g, layer, rms_norm(g, x, layer.post_attention_layernorm, {.eps = c.rms_norm_eps}));
    x = matmul_add(g, x, h, layer.down_proj);
    // The tower's index only says where the rows come from: they always go in after the first K layers.
    if (in.visual_index && i < in.deepstack.size()) {
      x = scatter_add_rows(g, x, in.deepstack[i], in.visual_index);
    }
    g.name(x, "output");
  }

  if (rows == LogitRows::kLast) x = slice(g, x, 0, g.shape(x)[0] - 1, g.shape(x)[0]);
  return g.name(matmul(g, rms_norm(g, x, w.norm, {.eps = c.rms_norm_eps}), w.lm_head), "lm_head");
}

}  // namespace tessera::qwen3vl
