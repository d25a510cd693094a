#include "bench/synthetic.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "bench/random_fill.h"
#include "models/qwen3vl/recipe.h"
#include "quant/formats.h"
#include "tensor/buffer.h"
#include "tensor/error.h"

namespace tessera::bench {
namespace {

using qwen3vl::Config;
using qwen3vl::TextConfig;
using qwen3vl::VisionConfig;

// The names and shapes that models/qwen3vl/weights.cpp binds.
class Listing {
 public:
  explicit Listing(const Config& config) {
    text(config.text, config.tie_word_embeddings);
    vision(config.vision);
  }
  std::vector<SyntheticTensor> take() { return std::move(all_); }

 private:
  void add(const std::string& name, const Shape& shape) { all_.push_back({name, shape}); }
  void linear(const std::string& at, std::int64_t n, std::int64_t k) {
    add(at + ".weight", {n, k});
    add(at + ".bias", {n});
  }
  void norm(const std::string& at, std::int64_t n) {
    add(at + ".weight", {n});
    add(at + ".bias", {n});
  }
  void text(const TextConfig& c, bool tied);
  void vision(const VisionConfig& c);
  void merger(const std::string& at, std::int64_t normed, std::int64_t merged, std::int64_t out) {
    norm(at + ".norm", normed);
    linear(at + ".linear_fc1", merged, merged);
    linear(at + ".linear_fc2", out, merged);
  }

  std::vector<SyntheticTensor> all_;
};

void Listing::text(const TextConfig& c, bool tied) {
  const std::string model = "model.language_model.";
  const std::int64_t hidden = c.hidden_size, inner = c.intermediate_size;
  const std::int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  add(model + "embed_tokens.weight", {c.vocab_size, hidden});
  for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = model + "layers." + std::to_string(i) + ".";
    add(at + "input_layernorm.weight", {hidden});
    add(at + "self_attn.q_proj.weight", {q, hidden});
    add(at + "self_attn.k_proj.weight", {kv, hidden});
    add(at + "self_attn.v_proj.weight", {kv, hidden});
    add(at + "self_attn.q_norm.weight", {c.head_dim});
    add(at + "self_attn.k_norm.weight", {c.head_dim});
    add(at + "self_attn.o_proj.weight", {hidden, q});
    add(at + "post_attention_layernorm.weight", {hidden});
    add(at + "mlp.gate_proj.weight", {inner, hidden});
    add(at + "mlp.up_proj.weight", {inner, hidden});
    add(at + "mlp.down_proj.weight", {hidden, inner});
  }
  add(model + "norm.weight", {hidden});
  if (!tied) add("lm_head.weight", {c.vocab_size, hidden});
}

void Listing::vision(const VisionConfig& c) {
  const std::string model = "model.visual.";
  const std::int64_t hidden = c.hidden_size, merged = hidden * c.spatial_merge_size * c.spatial_merge_size;
  add(model + "patch_embed.proj.weight",
      {hidden, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size});
  add(model + "patch_embed.proj.bias", {hidden});
  add(model + "pos_embed.weight", {c.num_position_embeddings, hidden});
  for (std::int64_t i = 0; i < c.depth; ++i) {
    const std::string at = model + "blocks." + std::to_string(i) + ".";
    norm(at + "norm1", hidden);
    linear(at + "attn.qkv", 3 * hidden, hidden);
    linear(at + "attn.proj", hidden, hidden);
    norm(at + "norm2", hidden);
    linear(at + "mlp.linear_fc1", c.intermediate_size, hidden);
    linear(at + "mlp.linear_fc2", hidden, c.intermediate_size);
  }
  merger(model + "merger", hidden, merged, c.out_hidden_size);
  for (std::size_t k = 0; k < c.deepstack_visual_indexes.size(); ++k) {
    merger(model + "deepstack_merger_list." + std::to_string(k), merged, merged, c.out_hidden_size);
  }
}

// Which format each tensor has.
class Formats {
 public:
  Formats(std::string_view type, const Config& config)
      : recipe_(type), model_{config.text.num_hidden_layers, !config.tie_word_embeddings} {
    if (!recipe_.text_in_blocks()) plain_ = dtype_from_name(type);
  }
  DType of(const SyntheticTensor& tensor) const {
    return plain_ ? *plain_ : recipe_.dtype_of(tensor.name, tensor.shape, model_);
  }

 private:
  qwen3vl::Recipe recipe_;
  qwen3vl::RecipeModel model_;
  std::optional<DType> plain_;  // of all tensors
};

// Memory in which the tensors of one dtype follow each other and wrap around: as large as the largest of
// them. Each begins at an address that is aligned and a whole number of blocks from the first.
class Pool {
 public:
  explicit Pool(DType dtype)
      : dtype_(dtype), step_(std::lcm(kAlignment, static_cast<std::size_t>(info(dtype).block_bytes))) {}

  void reserve(const Shape& shape) { size_ = std::max(size_, steps(shape)); }
  std::size_t size() const { return size_; }
  void allocate() { memory_ = Buffer::allocate(size_); }
  // All of the memory.
  TensorView view() const {
    const DTypeInfo& type = info(dtype_);
    const auto blocks = static_cast<std::int64_t>(size_) / type.block_bytes;
    return {dtype_, {blocks * type.block_elems}, memory_.data()};
  }
  TensorView place(const Shape& shape) {
    if (steps(shape) > size_ - next_) next_ = 0;
    const std::size_t at = next_;
    next_ += steps(shape);
    return {dtype_, shape, memory_.data() + at};
  }

 private:
  std::size_t steps(const Shape& shape) const {
    return (static_cast<std::size_t>(dense_bytes(dtype_, shape)) + step_ - 1) / step_ * step_;
  }

  DType dtype_;
  std::size_t step_, size_ = 0, next_ = 0;
  Buffer memory_;
};

// The memory and the checkpoint that reads it. The checkpoint does not own it, for a model drops the pages of
// what it has laid out, and pages that no file stands behind would come back as zeros.
struct Synthetic {
  std::map<DType, Pool> matrices, vectors;
  std::unique_ptr<const Checkpoint> checkpoint;

  Pool& pool(const SyntheticTensor& tensor, DType dtype) {
    return (tensor.is_vector() ? vectors : matrices).try_emplace(dtype, dtype).first->second;
  }
};

Config sized(TextConfig text, VisionConfig vision, bool tied) {
  text.max_position_embeddings = 262144;
  text.rms_norm_eps = 1e-6f;
  text.rope_theta = 5e6;
  vision.in_channels = 3;
  vision.patch_size = 16;
  vision.temporal_patch_size = 2;
  vision.spatial_merge_size = 2;
  vision.out_hidden_size = text.hidden_size;
  vision.num_position_embeddings = 2304;
  Config config;
  config.text = text;
  config.vision = std::move(vision);
  config.tie_word_embeddings = tied;
  const auto id = [&](std::string_view control) {
    const auto* const at = std::find(std::begin(kControls), std::end(kControls), control);
    return first_control_id(text) + static_cast<std::int32_t>(at - std::begin(kControls));
  };
  config.image_token_id = id("<|image_pad|>");
  config.video_token_id = id("<|video_pad|>");
  config.vision_start_token_id = id("<|vision_start|>");
  config.vision_end_token_id = id("<|vision_end|>");
  config.eos_token_ids = {id("<|im_end|>")};
  return config;
}

TextConfig published_text(std::int64_t hidden, std::int64_t inner, std::int64_t layers, std::int64_t heads) {
  return {.vocab_size = 151936,
          .hidden_size = hidden,
          .intermediate_size = inner,
          .num_hidden_layers = layers,
          .num_attention_heads = heads,
          .num_key_value_heads = 8,
          .head_dim = 128,
          .mrope_section = {24, 20, 20}};
}

VisionConfig tower(std::int64_t depth, std::int64_t hidden, std::int64_t inner, std::int64_t heads,
                   std::vector<std::int64_t> taps) {
  return {.depth = depth,
          .hidden_size = hidden,
          .intermediate_size = inner,
          .num_heads = heads,
          .deepstack_visual_indexes = std::move(taps)};
}

}  // namespace

std::optional<Config> synthetic_config(std::string_view size) {
  if (size == "2b") {
    return sized(published_text(2048, 6144, 28, 16), tower(24, 1024, 4096, 16, {5, 11, 17}), true);
  }
  if (size == "4b") {
    return sized(published_text(2560, 9728, 36, 32), tower(24, 1024, 4096, 16, {5, 11, 17}), true);
  }
  if (size == "8b") {
    return sized(published_text(4096, 12288, 36, 32), tower(27, 1152, 4304, 16, {8, 16, 24}), false);
  }
  if (size == "tiny") {
    TextConfig text = published_text(256, 768, 4, 4);
    text.vocab_size = 4096;
    text.num_key_value_heads = 2;
    text.head_dim = 64;
    text.mrope_section = {12, 10, 10};
    return sized(text, tower(4, 128, 512, 2, {1, 2}), true);
  }
  return std::nullopt;
}

std::vector<SyntheticTensor> synthetic_tensors(const Config& config) { return Listing(config).take(); }

void fill_ones(const TensorView& out) {
  const std::vector<float> ones(static_cast<std::size_t>(out.shape.elements()), 1.0f);
  quant::find_format(out.dtype)->encode_row(ones.data(), out.shape.elements(),
                                            reinterpret_cast<std::uint8_t*>(out.data));
}

std::shared_ptr<const Checkpoint> synthetic_checkpoint(const std::string& name, const Config& config,
                                                       std::string_view type, std::size_t extra_bytes) {
  const Formats formats(type, config);
  const std::vector<SyntheticTensor> tensors = synthetic_tensors(config);
  auto synthetic = std::make_shared<Synthetic>();
  std::size_t needed = extra_bytes;
  for (const SyntheticTensor& tensor : tensors) {
    const DType dtype = formats.of(tensor);
    needed += static_cast<std::size_t>(dense_bytes(dtype, tensor.shape));
    synthetic->pool(tensor, dtype).reserve(tensor.shape);
  }
  for (const auto* pools : {&synthetic->matrices, &synthetic->vectors}) {
    for (const auto& [dtype, pool] : *pools) needed += pool.size();
  }
  if (const std::size_t available = available_memory(); needed > available) {
    throw Error(ErrorCode::kResource, name, "memory",
                "not enough (needs " + std::to_string(needed >> 20) + " MiB, available " +
                    std::to_string(available >> 20) + " MiB)");
  }

  const RandomFill random;
  for (auto& [dtype, pool] : synthetic->matrices) {
    pool.allocate();
    random.normal(pool.view(), kDeviation);
  }
  for (auto& [dtype, pool] : synthetic->vectors) {
    pool.allocate();
    fill_ones(pool.view());
  }

  std::vector<Checkpoint::Entry> entries;
  for (const SyntheticTensor& tensor : tensors) {
    const DType dtype = formats.of(tensor);
    const TensorView view = synthetic->pool(tensor, dtype).place(tensor.shape);
    const auto bytes = static_cast<std::size_t>(dense_bytes(dtype, tensor.shape));
    entries.push_back(
        {tensor.name, name, std::string(info(dtype).name), tensor.shape, {view.data, bytes}, view});
  }
  synthetic->checkpoint = std::make_unique<const Checkpoint>(name, std::vector<Buffer>(), std::move(entries),
                                                             std::vector<std::string>());
  return {synthetic, synthetic->checkpoint.get()};
}

}  // namespace tessera::bench
