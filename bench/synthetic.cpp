#include "bench/synthetic.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bench/random_fill.h"
#include "tensor/buffer.h"
#include "tensor/error.h"

namespace tessera::bench {
namespace {

using qwen3vl::Config;
using qwen3vl::TextConfig;
using qwen3vl::VisionConfig;

struct Listed {
  std::string name;
  Shape shape;
  bool is_vector() const { return shape.rank() == 1; }
};

// The names and shapes that models/qwen3vl/weights.cpp binds.
class Listing {
 public:
  explicit Listing(const Config& config) {
    text(config.text, config.tie_word_embeddings);
    vision(config.vision);
  }
  const std::vector<Listed>& all() const { return all_; }

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

  std::vector<Listed> all_;
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

// The buffers and the checkpoint that reads them. The checkpoint does not own them, for a model drops the
// pages of what it has laid out, and pages that no file stands behind would come back as zeros.
struct Synthetic {
  Buffer matrices, ones;
  std::unique_ptr<const Checkpoint> checkpoint;
};

void fill_ones(const Buffer& buffer, DType dtype) {
  if (dtype == DType::kF32) {
    auto* const values = reinterpret_cast<float*>(buffer.data());
    std::fill(values, values + buffer.size() / sizeof(float), 1.0f);
    return;
  }
  const std::uint16_t one = dtype == DType::kF16 ? 0x3c00 : 0x3f80;
  auto* const values = reinterpret_cast<std::uint16_t*>(buffer.data());
  std::fill(values, values + buffer.size() / sizeof one, one);
}

constexpr std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

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
  const auto last = static_cast<std::int32_t>(text.vocab_size) - 1;
  config.image_token_id = last;
  config.video_token_id = last - 1;
  config.vision_start_token_id = last - 2;
  config.vision_end_token_id = last - 3;
  config.eos_token_ids = {last - 4};
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

std::shared_ptr<const Checkpoint> synthetic_checkpoint(const std::string& name, const Config& config,
                                                       DType dtype, std::size_t extra_bytes) {
  const Listing listing(config);
  std::size_t all = 0, largest_matrix = 0, largest_vector = 0;
  for (const Listed& tensor : listing.all()) {
    const auto bytes = static_cast<std::size_t>(dense_bytes(dtype, tensor.shape));
    std::size_t& largest = tensor.is_vector() ? largest_vector : largest_matrix;
    largest = std::max(largest, aligned(bytes));
    all += bytes;
  }
  const std::size_t needed = largest_matrix + largest_vector + all + extra_bytes,
                    available = available_memory();
  if (needed > available) {
    throw Error(ErrorCode::kResource, name, "memory",
                "not enough (needs " + std::to_string(needed >> 20) + " MiB, available " +
                    std::to_string(available >> 20) + " MiB)");
  }

  auto synthetic = std::make_shared<Synthetic>();
  synthetic->matrices = Buffer::allocate(largest_matrix);
  synthetic->ones = Buffer::allocate(largest_vector);
  fill_ones(synthetic->ones, dtype);
  const auto count = static_cast<std::int64_t>(largest_matrix) / info(dtype).block_bytes;
  RandomFill().normal({dtype, {count}, synthetic->matrices.data()}, 0.02f);

  std::vector<Checkpoint::Entry> entries;
  std::size_t next = 0;
  for (const Listed& tensor : listing.all()) {
    const auto bytes = static_cast<std::size_t>(dense_bytes(dtype, tensor.shape));
    const std::byte* data = synthetic->ones.data();
    if (!tensor.is_vector()) {
      if (bytes > largest_matrix - next) next = 0;
      data = synthetic->matrices.data() + next;
      next += aligned(bytes);
    }
    entries.push_back({tensor.name,
                       name,
                       std::string(info(dtype).name),
                       tensor.shape,
                       {data, bytes},
                       TensorView(dtype, tensor.shape, data)});
  }
  synthetic->checkpoint = std::make_unique<const Checkpoint>(name, std::vector<Buffer>(), std::move(entries),
                                                             std::vector<std::string>());
  return {synthetic, synthetic->checkpoint.get()};
}

}  // namespace tessera::bench
