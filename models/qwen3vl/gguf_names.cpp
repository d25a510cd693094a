#include "models/qwen3vl/gguf_names.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

// Names without their last part, "weight" or "bias", which is the same on both sides. # is a number.
struct Row {
  GgufPart part;
  std::string_view hugging_face, gguf;
};

constexpr GgufPart kText = GgufPart::kText, kVision = GgufPart::kVision;

constexpr Row kRows[] = {
    {kText, "model.language_model.embed_tokens", "token_embd"},
    {kText, "model.language_model.norm", "output_norm"},
    {kText, "lm_head", "output"},
    {kText, "model.language_model.layers.#.input_layernorm", "blk.#.attn_norm"},
    {kText, "model.language_model.layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {kText, "model.language_model.layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {kText, "model.language_model.layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {kText, "model.language_model.layers.#.self_attn.q_norm", "blk.#.attn_q_norm"},
    {kText, "model.language_model.layers.#.self_attn.k_norm", "blk.#.attn_k_norm"},
    {kText, "model.language_model.layers.#.self_attn.o_proj", "blk.#.attn_output"},
    {kText, "model.language_model.layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {kText, "model.language_model.layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
    {kText, "model.language_model.layers.#.mlp.up_proj", "blk.#.ffn_up"},
    {kText, "model.language_model.layers.#.mlp.down_proj", "blk.#.ffn_down"},
    {kVision, "model.visual.patch_embed.proj", "v.patch_embd"},
    {kVision, "model.visual.pos_embed", "v.position_embd"},
    {kVision, "model.visual.blocks.#.norm1", "v.blk.#.ln1"},
    {kVision, "model.visual.blocks.#.norm2", "v.blk.#.ln2"},
    {kVision, "model.visual.blocks.#.attn.qkv", "v.blk.#.attn_qkv"},
    {kVision, "model.visual.blocks.#.attn.proj", "v.blk.#.attn_out"},
    {kVision, "model.visual.blocks.#.mlp.linear_fc1", "v.blk.#.ffn_up"},
    {kVision, "model.visual.blocks.#.mlp.linear_fc2", "v.blk.#.ffn_down"},
    {kVision, "model.visual.merger.norm", "v.post_ln"},
    {kVision, "model.visual.merger.linear_fc1", "mm.0"},
    {kVision, "model.visual.merger.linear_fc2", "mm.2"},
    {kVision, "model.visual.deepstack_merger_list.#.norm", "v.deepstack.#.norm"},
    {kVision, "model.visual.deepstack_merger_list.#.linear_fc1", "v.deepstack.#.fc1"},
    {kVision, "model.visual.deepstack_merger_list.#.linear_fc2", "v.deepstack.#.fc2"},
};

constexpr std::string_view kLayers = "blk.#", kBlocks = "v.blk.#", kDeepStack = "v.deepstack.#";

// Digits without sign or leading zeros, below 2^31; otherwise nothing.
std::optional<std::int64_t> parse_number(std::string_view digits) {
  std::int32_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || at != end || digits[0] == '-' || (digits.size() > 1 && digits[0] == '0')) {
    return std::nullopt;
  }
  return value;
}

// What stands for the # of a pattern in a name; "" for a pattern without #; nothing where they differ.
std::optional<std::string_view> match(std::string_view pattern, std::string_view name) {
  const std::size_t hole = pattern.find('#');
  if (hole == std::string_view::npos)
    return pattern == name ? std::optional(name.substr(0, 0)) : std::nullopt;
  const std::string_view front = pattern.substr(0, hole), back = pattern.substr(hole + 1);
  if (name.size() < front.size() + back.size() || !name.starts_with(front) || !name.ends_with(back)) {
    return std::nullopt;
  }
  return name.substr(front.size(), name.size() - front.size() - back.size());
}

std::string fill(std::string_view pattern, std::optional<std::int64_t> number) {
  std::string name(pattern);
  if (number) name.replace(name.find('#'), 1, std::to_string(*number));
  return name;
}

struct Split {
  std::string_view stem, last;  // "blk.0.attn_q", ".weight"
};

std::optional<Split> split(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const Split parts{name.substr(0, dot), name.substr(dot)};
  return parts.last == ".weight" || parts.last == ".bias" ? std::optional(parts) : std::nullopt;
}

// The number in GGUF files for one in Hugging Face checkpoints, and whether the model has it.
std::optional<std::int64_t> gguf_number(std::string_view gguf_pattern, std::int64_t number,
                                        const Config& config) {
  const auto below = [&](std::int64_t limit) {
    return number < limit ? std::optional(number) : std::nullopt;
  };
  if (gguf_pattern.starts_with(kLayers)) return below(config.text.num_hidden_layers);
  if (gguf_pattern.starts_with(kBlocks)) return below(config.vision.depth);
  const auto& taps = config.vision.deepstack_visual_indexes;
  if (number >= static_cast<std::int64_t>(taps.size())) return std::nullopt;
  return taps[static_cast<std::size_t>(number)];
}

[[noreturn]] void bad_number(const std::string& file, const std::string& name, std::string_view digits,
                             const std::string& expected) {
  throw Error(ErrorCode::kModel, file, name,
              "bad number (got \"" + escape(digits, 40) + "\", expected " + expected + ")");
}

// The inverse, for the digits of a tensor's name.
std::int64_t hugging_face_number(std::string_view group, std::string_view digits, const std::string& file,
                                 const std::string& name, const Config& config) {
  const std::optional<std::int64_t> number = parse_number(digits);
  if (group == kDeepStack) {
    const auto& taps = config.vision.deepstack_visual_indexes;
    const auto at = std::find(taps.begin(), taps.end(), number.value_or(-1));
    if (at == taps.end()) bad_number(file, name, digits, "a block that has a DeepStack merger");
    return at - taps.begin();
  }
  const std::int64_t limit = group == kLayers ? config.text.num_hidden_layers : config.vision.depth;
  if (!number || *number >= limit) bad_number(file, name, digits, "0 to " + std::to_string(limit - 1));
  return *number;
}

}  // namespace

std::optional<GgufName> gguf_name(std::string_view hugging_face, const Config& config) {
  const auto parts = split(hugging_face);
  if (!parts) return std::nullopt;
  for (const Row& row : kRows) {
    const auto digits = match(row.hugging_face, parts->stem);
    if (!digits) continue;
    std::optional<std::int64_t> number;
    if (row.hugging_face.find('#') != std::string_view::npos) {
      number = parse_number(*digits);
      if (number) number = gguf_number(row.gguf, *number, config);
      if (!number) return std::nullopt;
    }
    return GgufName{row.part, fill(row.gguf, number) + std::string(parts->last)};
  }
  return std::nullopt;
}

std::optional<std::string> hugging_face_name(const GgufName& gguf, const Config& config,
                                             const std::string& file) {
  std::optional<std::int64_t> number;
  for (const std::string_view group : {kLayers, kBlocks, kDeepStack}) {
    const std::string_view front = group.substr(0, group.size() - 1);
    if (!gguf.name.starts_with(front)) continue;
    const std::string_view rest = std::string_view(gguf.name).substr(front.size());
    number = hugging_face_number(group, rest.substr(0, rest.find('.')), file, gguf.name, config);
  }
  const auto parts = split(gguf.name);
  if (!parts) return std::nullopt;
  for (const Row& row : kRows) {
    if (row.part != gguf.part || !match(row.gguf, parts->stem)) continue;
    return fill(row.hugging_face, number) + std::string(parts->last);
  }
  return std::nullopt;
}

}  // namespace tessera::qwen3vl
