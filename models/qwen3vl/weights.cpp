#include "models/qwen3vl/weights.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "models/files/weight_binder.h"
#include "ops/ops.h"
#include "quant/formats.h"
#include "quant/quantize.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera::qwen3vl {
namespace {

// Walks over the weights of a model: what becomes of one is up to a derived class.
class Loader {
 public:
  explicit Loader(const Checkpoint& checkpoint) : binder_(checkpoint) {}
  virtual ~Loader() = default;

  TensorView matrix(const std::string& name, const Shape& shape) {
    const TensorView source = binder_.require(name, shape);
    return source.data ? load_matrix(name, source) : source;
  }
  TensorView f32(const std::string& name, const Shape& shape) {
    const TensorView source = binder_.require(name, shape);
    return source.data ? load_f32(name, source) : source;
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
  virtual TensorView load_matrix(const std::string& name, const TensorView& source) = 0;
  virtual TensorView load_f32(const std::string& name, const TensorView& source) = 0;

  WeightBinder binder_;
};

class ListingLoader : public Loader {
 public:
  using Loader::Loader;
  std::vector<WeightPlace> take() { return std::move(places_); }

 private:
  TensorView load_matrix(const std::string& name, const TensorView& source) override {
    places_.push_back({name, source.shape, true, source});
    return source;
  }
  TensorView load_f32(const std::string& name, const TensorView& source) override {
    places_.push_back({name, source.shape, false, source});
    return source;
  }

  std::vector<WeightPlace> places_;
};

// The dtype that a matrix is loaded in.
DType loaded_dtype(const WeightPlace& matrix, const WeightOptions& options, const RecipeModel& model) {
  return options.recipe ? options.recipe->dtype_of(matrix.name, matrix.shape, model) : matrix.source.dtype;
}

// Bytes of a weight once loaded.
std::size_t loaded_bytes(const WeightPlace& weight, DType dtype) {
  if (dtype == DType::kF32) return static_cast<std::size_t>(dense_bytes(dtype, weight.shape));
  return ops::packed_bytes(TensorView(dtype, weight.shape, nullptr));
}

// One stretch of memory for all weights that are copied: huge pages do not begin anew with each of them.
class WeightMemory {
 public:
  explicit WeightMemory(std::size_t bytes) : memory_(Buffer::allocate(bytes, Pages::kHuge)) {}
  static constexpr std::size_t padded(std::size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::byte* take(std::size_t bytes) {
    TESSERA_CHECK(used_ + bytes <= memory_.size());
    std::byte* place = memory_.data() + used_;
    used_ += padded(bytes);
    return place;
  }
  Buffer release() && { return std::move(memory_); }

 private:
  Buffer memory_;
  std::size_t used_ = 0;
};

class PackingLoader : public Loader {
 public:
  PackingLoader(Weights& weights, const Config& config, const WeightOptions& options)
      : Loader(*weights.checkpoint),
        weights_(weights),
        options_(options),
        model_(recipe_model(*weights.checkpoint, config)),
        memory_(copied_bytes(list_weights(*weights.checkpoint, config))) {}

  std::vector<std::string> finish() {
    const ops::PackOptions alone{.threads = 1, .cpu = pack_options_.cpu};
    parallel_for(static_cast<std::int64_t>(pieces_.size()), 1, options_.threads,
                 [&](std::int64_t i, std::int64_t) {
                   const Piece& piece = pieces_[static_cast<std::size_t>(i)];
                   ops::pack_weight(piece.rows, piece.place, alone);
                   weights_.checkpoint->drop_pages(piece.rows);
                 });
    // Reading one tensor maps pages of its neighbours too.
    for (const Checkpoint::Entry& entry : weights_.checkpoint->entries()) {
      weights_.checkpoint->drop_pages(entry.bytes);
    }
    weights_.memory.push_back(std::move(memory_).release());
    return Loader::finish();
  }

 private:
  // Of vectors and panels; f32 matrices have memory of their own where they need any.
  std::size_t copied_bytes(const std::vector<WeightPlace>& weights) const {
    std::size_t bytes = 0;
    for (const WeightPlace& weight : weights) {
      const DType dtype = weight.is_matrix ? loaded_dtype(weight, options_, model_) : DType::kF32;
      if (weight.is_matrix && dtype == DType::kF32) continue;
      bytes += WeightMemory::padded(loaded_bytes(weight, dtype));
    }
    return bytes;
  }

  TensorView load_matrix(const std::string& name, const TensorView& source) override {
    Buffer converted;
    const TensorView rows = convert(name, source, &converted);
    TensorView matrix(ops::packed_desc(rows), nullptr);
    if (rows.dtype == DType::kF32) {
      ops::PackedWeight packed = ops::pack_weight(rows, options_.threads);
      if (packed.memory.size()) converted = std::move(packed.memory);
      if (converted.size()) weights_.memory.push_back(std::move(converted));
      matrix = packed.view;
    } else if (converted.size()) {
      matrix = ops::pack_weight(rows, memory_.take(ops::packed_bytes(rows)), pack_options_);
    } else {
      matrix.data = memory_.take(ops::packed_bytes(rows));
      cut(rows, matrix);
    }
    weights_.matrices.emplace_back(name, matrix);
    return matrix;
  }

  // The pieces of a matrix in a file: after each, its part of the file is given back, so that what is loaded
  // and what it is loaded from are never in memory both. A thread has a piece to itself, which is larger than
  // a huge page: two that touch the same one first would both clear it.
  void cut(const TensorView& rows, const TensorView& packed) {
    constexpr std::int64_t kPiece = 4 << 20, kPanel = 16;
    const std::int64_t n = packed.shape[0], columns = packed.shape[1];
    const std::int64_t row_bytes = dense_bytes(rows.dtype, packed.shape) / n;
    const std::int64_t step = std::max<std::int64_t>(kPiece / row_bytes / kPanel, 1) * kPanel;
    std::byte* place = packed.data;
    for (std::int64_t begin = 0; begin < n; begin += step) {
      const TensorView piece(rows.dtype, {std::min(step, n - begin), columns}, rows.data + begin * row_bytes);
      pieces_.push_back({piece, place});
      place += ops::packed_bytes(piece);
    }
  }

  // The matrix in the recipe's format, in `memory` where that is another one.
  TensorView convert(const std::string& name, const TensorView& source, Buffer* memory) const {
    if (!options_.recipe) return source;
    const DType dtype = options_.recipe->dtype_of(name, source.shape, model_);
    if (dtype == source.dtype) return source;
    *memory = Buffer::allocate(static_cast<std::size_t>(dense_bytes(dtype, source.shape)), Pages::kHuge);
    quant::QuantizeJob job{
        .from = source.dtype, .to = dtype, .threads = options_.threads, .cpu = pack_options_.cpu};
    job.file = weights_.checkpoint->path();
    job.tensor = name;
    job.columns = source.shape.back();
    job.rows = source.shape.rows();
    quant::quantize_rows(job, source.as<const std::uint8_t>(),
                         reinterpret_cast<std::uint8_t*>(memory->data()));
    weights_.checkpoint->drop_pages(source);
    return {dtype, source.shape, memory->data()};
  }

  TensorView load_f32(const std::string&, const TensorView& source) override {
    const std::int64_t n = source.shape.elements();
    std::byte* const place = memory_.take(static_cast<std::size_t>(n) * sizeof(float));
    quant::find_format(source.dtype)
        ->decode_row(source.as<const std::uint8_t>(), n, reinterpret_cast<float*>(place));
    return {DType::kF32, source.shape, place};
  }

  struct Piece {
    TensorView rows;
    std::byte* place;
  };

  Weights& weights_;
  const WeightOptions& options_;
  RecipeModel model_;
  std::vector<Piece> pieces_;  // still to be packed
  ops::PackOptions pack_options_{.threads = options_.threads};
  WeightMemory memory_;
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

std::vector<WeightPlace> list_weights(const Checkpoint& checkpoint, const Config& config) {
  ListingLoader list(checkpoint);
  text_weights(list, config);
  vision_weights(list, config.vision);
  list.finish();
  return list.take();
}

RecipeModel recipe_model(const Checkpoint& checkpoint, const Config& config) {
  return {config.text.num_hidden_layers, checkpoint.contains("lm_head.weight")};
}

WeightBytes weight_bytes(const Checkpoint& checkpoint, const Config& config, const WeightOptions& options) {
  const RecipeModel model = recipe_model(checkpoint, config);
  WeightBytes bytes;
  std::size_t converted = 0;
  for (const WeightPlace& weight : list_weights(checkpoint, config)) {
    const DType dtype = weight.is_matrix ? loaded_dtype(weight, options, model) : DType::kF32;
    bytes.kept += loaded_bytes(weight, dtype);
    if (weight.is_matrix && dtype != DType::kF32 && dtype != weight.source.dtype) {
      converted = std::max(converted, static_cast<std::size_t>(dense_bytes(dtype, weight.shape)));
    }
  }
  bytes.peak = bytes.kept + converted;
  return bytes;
}

Weights load_weights(std::shared_ptr<const Checkpoint> checkpoint, const Config& config,
                     const WeightOptions& options) {
  Weights weights;
  weights.checkpoint = std::move(checkpoint);
  PackingLoader load(weights, config, options);
  weights.text = text_weights(load, config);
  weights.vision = vision_weights(load, config.vision);
  weights.warnings = load.finish();
  return weights;
}

}  // namespace tessera::qwen3vl
