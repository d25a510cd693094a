#include "models/qwen3vl/weights.h"

#include "models/files/weight_binder.h"
#include "ops/ops.h"
#include "quant/formats.h"

namespace tessera::qwen3vl {
namespace {

class Loader {
 public:
  Loader(Weights& weights, int threads)
      : weights_(weights), threads_(threads), binder_(*weights.checkpoint) {}

  TensorView matrix(const std::string& name, const Shape& shape) {
    const TensorView source = binder_.require(name, shape);
    if (!source.data) return source;
    ops::PackedWeight packed = ops::pack_weight(source, threads_);
    if (packed.memory.size()) {
      weights_.checkpoint->drop_pages(source);
      weights_.memory.push_back(std::move(packed.memory));
    }
    return packed.view;
  }

  TensorView f32(const std::string& name, const Shape& shape) {
    const TensorView source = binder_.require(name, shape);
    if (!source.data) return source;
    const std::int64_t n = shape.elements();
    Buffer memory = Buffer::allocate(static_cast<std::size_t>(n) * sizeof(float));
    auto* out = reinterpret_cast<float*>(memory.data());
    quant::find_format(source.dtype)->decode_row(reinterpret_cast<const std::uint8_t*>(source.data), n, out);
    weights_.memory.push_back(std::move(memory));
    return {DType::kF32, shape, weights_.memory.back().data()};
  }

  MergerWeights merger(const std::string& at, std::int64_t norm, std::int64_t merged, std::int64_t out) {
    return {.norm_weight = f32(at + "norm.weight", {norm}),
            .norm_bias = f32(at + "norm.bias", {norm}),
            .fc1_weight = matrix(at + "linear_fc1.weight", {merged, merged}),
            .fc1_bias = f32(at + "linear_fc1.bias", {merged}),
            .fc2_weight = matrix(at + "linear_fc2.weight", {out, merged}),
            .fc2_bias = f32(at + "linear_fc2.bias", {out})};
  }

  bool has(std::string_view name) const { return binder_.has(name); }
  std::vector<std::string> finish() const { return binder_.finish(); }

 private:
  Weights& weights_;
  int threads_;
  WeightBinder binder_;
};

DecoderLayerWeights decoder_layer(Loader& load, const TextConfig& c, const std::string& at) {
  const std::int64_t hidden = c.hidden_size, head = c.head_dim;
  const std::int64_t q = c.num_attention_heads * head, kv = c.num_key_value_heads * head;
  return {.input_layernorm = load.f32(at + "input_layernorm.weight", {hidden}),
          .q_proj = load.matrix(at + "self_attn.q_proj.weight", {q, hidden}),
          .k_proj = load.matrix(at + "self_attn.k_proj.weight", {kv, hidden}),
          .v_proj = load.matrix(at + "self_attn.v_proj.weight", {kv, hidden}),
          .q_norm = load.f32(at + "self_attn.q_norm.weight", {head}),
          .k_norm = load.f32(at + "self_attn.k_norm.weight", {head}),
          .o_proj = load.matrix(at + "self_attn.o_proj.weight", {hidden, q}),
          .post_attention_layernorm = load.f32(at + "post_attention_layernorm.weight", {hidden}),
          .gate_proj = load.matrix(at + "mlp.gate_proj.weight", {c.intermediate_size, hidden}),
          .up_proj = load.matrix(at + "mlp.up_proj.weight", {c.intermediate_size, hidden}),
          .down_proj = load.matrix(at + "mlp.down_proj.weight", {hidden, c.intermediate_size})};
}

VisionBlockWeights vision_block(Loader& load, const VisionConfig& c, const std::string& at) {
  const std::int64_t hidden = c.hidden_size, inner = c.intermediate_size;
  return {.norm1_weight = load.f32(at + "norm1.weight", {hidden}),
          .norm1_bias = load.f32(at + "norm1.bias", {hidden}),
          .qkv_weight = load.matrix(at + "attn.qkv.weight", {3 * hidden, hidden}),
          .qkv_bias = load.f32(at + "attn.qkv.bias", {3 * hidden}),
          .proj_weight = load.matrix(at + "attn.proj.weight", {hidden, hidden}),
          .proj_bias = load.f32(at + "attn.proj.bias", {hidden}),
          .norm2_weight = load.f32(at + "norm2.weight", {hidden}),
          .norm2_bias = load.f32(at + "norm2.bias", {hidden}),
          .fc1_weight = load.matrix(at + "mlp.linear_fc1.weight", {inner, hidden}),
          .fc1_bias = load.f32(at + "mlp.linear_fc1.bias", {inner}),
          .fc2_weight = load.matrix(at + "mlp.linear_fc2.weight", {hidden, inner}),
          .fc2_bias = load.f32(at + "mlp.linear_fc2.bias", {hidden})};
}

TextWeights text_weights(Loader& load, const Config& config) {
  const TextConfig& c = config.text;
  const std::string at = "model.language_model.";
  TextWeights w;
  w.embed_tokens = load.matrix(at + "embed_tokens.weight", {c.vocab_size, c.hidden_size});
  for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
    w.layers.push_back(decoder_layer(load, c, at + "layers." + std::to_string(i) + "."));
  }
  w.norm = load.f32(at + "norm.weight", {c.hidden_size});
  // The tensor list decides: some published configs leave the flag out (spec/qwen3-vl.md §1.3).
  w.lm_head = load.has("lm_head.weight") || !config.tie_word_embeddings
                  ? load.matrix("lm_head.weight", {c.vocab_size, c.hidden_size})
                  : w.embed_tokens;
  return w;
}

VisionWeights vision_weights(Loader& load, const VisionConfig& c) {
  const std::string at = "model.visual.";
  const std::int64_t hidden = c.hidden_size, merged = hidden * c.spatial_merge_size * c.spatial_merge_size;
  VisionWeights w;
  w.patch_embed_weight =
      load.matrix(at + "patch_embed.proj.weight",
                  {hidden, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size});
  w.patch_embed_bias = load.f32(at + "patch_embed.proj.bias", {hidden});
  w.pos_embed = load.f32(at + "pos_embed.weight", {c.num_position_embeddings, hidden});
  for (std::int64_t i = 0; i < c.depth; ++i) {
    w.blocks.push_back(vision_block(load, c, at + "blocks." + std::to_string(i) + "."));
  }
  w.merger = load.merger(at + "merger.", hidden, merged, c.out_hidden_size);
  for (std::size_t k = 0; k < c.deepstack_visual_indexes.size(); ++k) {
    w.deepstack_mergers.push_back(load.merger(at + "deepstack_merger_list." + std::to_string(k) + ".", merged,
                                              merged, c.out_hidden_size));
  }
  return w;
}

}  // namespace

std::size_t packed_bytes(const Checkpoint& checkpoint) {
  std::size_t bytes = 0;
  for (const Checkpoint::Entry& entry : checkpoint.entries()) bytes += entry.bytes.size();
  return bytes;
}

Weights load_weights(std::shared_ptr<const Checkpoint> checkpoint, const Config& config, int threads) {
  Weights weights;
  weights.checkpoint = std::move(checkpoint);
  Loader load(weights, threads);
  weights.text = text_weights(load, config);
  weights.vision = vision_weights(load, config.vision);
  weights.warnings = load.finish();
  return weights;
}

}  // namespace tessera::qwen3vl
