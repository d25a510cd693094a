#include "models/qwen3vl/gguf_export.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "models/qwen3vl/quantizer.h"
#include "models/qwen3vl/weights.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "4b", "v1.5"
bool is_version(std::string_view word) {
  if (is_digit(word[0])) return true;
  return word[0] == 'v' && word.size() > 1 && is_digit(word[1]) && is_digit(word.back()) &&
         word.find_first_not_of("0123456789.", 1) == word.npos && word.find("..") == word.npos;
}

std::string title_of_word(std::string_view word) {
  std::string out(word);
  const bool lower =
      std::any_of(word.begin(), word.end(), is_lower) && std::none_of(word.begin(), word.end(), is_upper);
  if (!lower || is_version(word)) return out;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const bool begins = i == 0 || !(is_lower(out[i - 1]) || is_upper(out[i - 1]));
    if (begins && is_lower(out[i])) out[i] = static_cast<char>(out[i] - 'a' + 'A');
  }
  return out;
}

class Keys {
 public:
  Keys(const ModelFiles& files, GgufMetadata* metadata) : files_(files), metadata_(*metadata) {}

  void u32(const std::string& key, std::int64_t value) {
    if (value < 0 || value > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(ErrorCode::kUnsupported, files_.path, key,
                  "GGUF files keep 32 bits (got " + std::to_string(value) + ")");
    }
    metadata_.set(key, GgufValue::of_u32(static_cast<std::uint32_t>(value)));
  }
  void f32(const std::string& key, double value) {
    metadata_.set(key, GgufValue::of_f32(static_cast<float>(value)));
  }
  void string(const std::string& key, std::string_view value) {
    metadata_.set(key, GgufValue::of_string(value));
  }
  void boolean(const std::string& key, bool value) { metadata_.set(key, GgufValue::of_bool(value)); }
  void set(const std::string& key, GgufValue value) { metadata_.set(key, std::move(value)); }

 private:
  const ModelFiles& files_;
  GgufMetadata& metadata_;
};

void set_sampling(Keys& keys, const GenerationDefaults& generation) {
  const std::string at = "general.sampling.";
  if (!generation.do_sample) {
    keys.f32(at + "temp", 0);
    return;
  }
  keys.set(at + "top_k", GgufValue::of_i32(generation.top_k));
  keys.f32(at + "top_p", generation.top_p);
  keys.f32(at + "temp", generation.temperature);
  if (generation.min_p > 0) keys.f32(at + "min_p", generation.min_p);
}

void set_general(Keys& keys, const ModelFiles& files, const GgufExport& out, std::uint32_t file_type) {
  set_sampling(keys, files.generation);
  if (files.generation.repetition_penalty != 1)
    keys.f32("general.sampling.penalty_repeat", files.generation.repetition_penalty);
  keys.string("general.name", title_of(model_name(files.path)));
  std::int64_t parameters = 0;
  for (const GgufExport::Item& item : out.items) parameters += item.target.shape.elements();
  keys.string("general.size_label", size_label(parameters));
  keys.u32("general.file_type", file_type);
  keys.u32("general.quantization_version", 2);
}

void set_text(Keys& keys, const ModelFiles& files) {
  const TextConfig& c = files.config.text;
  if (!c.mrope_interleaved) {
    throw Error(ErrorCode::kUnsupported, files.path, "mrope_interleaved",
                "GGUF files of this architecture cannot say it (got false, expected true)");
  }
  const std::string at = "qwen3vl.";
  keys.u32(at + "block_count", c.num_hidden_layers);
  keys.u32(at + "context_length", c.max_position_embeddings);
  keys.u32(at + "embedding_length", c.hidden_size);
  keys.u32(at + "feed_forward_length", c.intermediate_size);
  keys.u32(at + "attention.head_count", c.num_attention_heads);
  keys.u32(at + "attention.head_count_kv", c.num_key_value_heads);
  const std::int32_t sections[] = {static_cast<std::int32_t>(c.mrope_section[0]),
                                   static_cast<std::int32_t>(c.mrope_section[1]),
                                   static_cast<std::int32_t>(c.mrope_section[2]), 0};
  keys.set(at + "rope.dimension_sections", GgufValue::of_i32s(sections));
  keys.f32(at + "rope.freq_base", c.rope_theta);
  keys.f32(at + "attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  keys.u32(at + "attention.key_length", c.head_dim);
  keys.u32(at + "attention.value_length", c.head_dim);
  keys.u32(at + "n_deepstack_layers",
           static_cast<std::int64_t>(files.config.vision.deepstack_visual_indexes.size()));
}

// gguf-py's TokenType.
constexpr std::int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

void set_tokens(Keys& keys, const ModelFiles& files) {
  const TokenizerParts& parts = files.tokenizer;
  const auto rows = static_cast<std::size_t>(files.config.text.vocab_size);
  std::vector<std::string> tokens(rows);
  std::vector<std::int32_t> types(rows, kNormal);
  for (std::size_t id = 0; id < rows; ++id) {
    if (id < parts.tokens.size()) tokens[id] = parts.tokens[id];
    if (!tokens[id].empty()) continue;
    tokens[id] = "[PAD";
    tokens[id] += std::to_string(id) + ']';
    types[id] = kUnused;
  }
  for (const AddedToken& added : parts.added) {
    const auto id = static_cast<std::size_t>(added.id);
    if (added.id < 0 || id >= rows) {
      throw Error(ErrorCode::kModel, parts.source, added.text,
                  "token outside the vocabulary (got id " + std::to_string(added.id) + ", expected below " +
                      std::to_string(rows) + ")");
    }
    const bool looks_special = added.text.starts_with("<|") && added.text.ends_with("|>");
    tokens[id] = added.text;
    types[id] = added.special || looks_special ? kControl : kUserDefined;
  }
  keys.string("tokenizer.ggml.model", "gpt2");
  keys.string("tokenizer.ggml.pre", "qwen2");
  keys.set("tokenizer.ggml.tokens", GgufValue::of_strings(tokens));
  keys.set("tokenizer.ggml.token_type", GgufValue::of_i32s(types));
  keys.set("tokenizer.ggml.merges", GgufValue::of_strings(parts.merges));
}

void set_special_tokens(Keys& keys, const ModelFiles& files) {
  const GenerationDefaults& generation = files.generation;
  const std::string at = "tokenizer.ggml.";
  if (!generation.eos_token_ids.empty()) {
    keys.u32(at + "eos_token_id", generation.eos_token_ids[0]);
    keys.set(at + "eos_token_ids", GgufValue::of_i32s(generation.eos_token_ids));
  }
  if (generation.pad_token_id) keys.u32(at + "padding_token_id", *generation.pad_token_id);
  if (generation.bos_token_id) keys.u32(at + "bos_token_id", *generation.bos_token_id);
  keys.boolean(at + "add_bos_token", false);
  if (files.chat_template) keys.string("tokenizer.chat_template", *files.chat_template);
}

void set_vision(Keys& keys, const ModelFiles& files) {
  constexpr double kLayerNormEpsilon = 1e-6;  // spec/qwen3-vl.md §5
  const VisionConfig& c = files.config.vision;
  const PreprocessConfig& p = files.preprocess;
  const std::string at = "clip.vision.";
  keys.boolean("clip.has_vision_encoder", true);
  keys.u32(at + "projection_dim", c.out_hidden_size);
  const auto side = std::llround(std::sqrt(static_cast<double>(c.num_position_embeddings)));
  keys.u32(at + "image_size", side * c.patch_size);
  keys.u32(at + "patch_size", c.patch_size);
  keys.u32(at + "embedding_length", c.hidden_size);
  keys.u32(at + "feed_forward_length", c.intermediate_size);
  keys.u32(at + "block_count", c.depth);
  keys.u32(at + "attention.head_count", c.num_heads);
  keys.set(at + "image_mean", GgufValue::of_f32s(p.mean));
  keys.set(at + "image_std", GgufValue::of_f32s(p.std));
  keys.string("clip.projector_type", "qwen3vl_merger");
  keys.boolean("clip.use_gelu", true);
  keys.u32(at + "spatial_merge_size", c.spatial_merge_size);
  keys.f32(at + "attention.layer_norm_epsilon", kLayerNormEpsilon);
  std::vector<bool> taps(static_cast<std::size_t>(c.depth));
  for (const std::int64_t block : c.deepstack_visual_indexes) taps[static_cast<std::size_t>(block)] = true;
  keys.set(at + "is_deepstack_layers", GgufValue::of_bools(taps));
  keys.u32(at + "image_min_pixels", p.min_pixels);
  keys.u32(at + "image_max_pixels", p.max_pixels);
  keys.u32(at + "temporal_patch_size", c.temporal_patch_size);
}

std::vector<GgufExport::Item> export_items(const ModelFiles& files, const Recipe& recipe, GgufPart part) {
  std::vector<GgufExport::Item> items;
  const RecipeModel model = recipe_model(*files.checkpoint, files.config);
  for (const WeightPlace& weight : list_weights(*files.checkpoint, files.config)) {
    const std::optional<GgufName> name = gguf_name(weight.name, files.config);
    TESSERA_CHECK(name);
    if (name->part != part) continue;
    const DType dtype = recipe.dtype_of(weight.name, weight.shape, model);
    if (weight.name != kPatchEmbedding) {
      items.push_back({{name->name, dtype, weight.shape}, weight.name, weight.source, std::nullopt});
      continue;
    }
    const Shape& s = weight.shape;
    for (int frame = 0; frame < 2; ++frame) {
      items.push_back({{std::string(kGgufPatchSlices[frame]), dtype, {s[0], s[1], s[3], s[4]}},
                       weight.name,
                       weight.source,
                       frame});
    }
  }
  return items;
}

}  // namespace

std::string title_of(std::string_view name) {
  std::string out;
  for (std::size_t begin = 0; begin < name.size();) {
    const std::size_t end = std::min(name.find_first_of("- \t\n", begin), name.size());
    if (end > begin && !out.empty()) out += ' ';
    if (end > begin) out += title_of_word(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::string size_label(std::int64_t parameters) {
  constexpr std::pair<double, char> kUnits[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
  const auto n = static_cast<double>(parameters);
  const auto unit = std::find_if(std::begin(kUnits), std::prev(std::end(kUnits)),
                                 [&](const auto& u) { return n > u.first; });
  const double scaled = n / unit->first;
  const double rounded = std::nearbyint(scaled);
  const int digits = rounded < 1 ? 0 : rounded < 10 ? 1 : 2;
  char text[64];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, scaled, std::chars_format::fixed, 2 - digits);
  return error == std::errc() ? std::string(text, end) + unit->second : std::string();
}

GgufExport export_gguf(const ModelFiles& files, const Recipe& recipe, GgufPart part) {
  GgufExport out;
  out.items = export_items(files, recipe, part);
  Keys keys(files, &out.metadata);
  const bool text = part == GgufPart::kText;
  keys.string("general.architecture", text ? "qwen3vl" : "clip");
  keys.string("general.type", text ? "model" : "mmproj");
  set_general(keys, files, out, text ? recipe.text_file_type() : recipe.vision_file_type());
  if (!text) {
    set_vision(keys, files);
    return out;
  }
  set_text(keys, files);
  set_tokens(keys, files);
  set_special_tokens(keys, files);
  return out;
}

}  // namespace tessera::qwen3vl
