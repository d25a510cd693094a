#include "models/qwen3vl/recipe.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "quant/quantize.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

struct Type {
  std::string_view name, alias;
  DType dtype;
  std::uint32_t file_type;  // ggml's llama_ftype
};

constexpr Type kTypes[] = {
    {"f32", "fp32", DType::kF32, 0},    {"f16", "fp16", DType::kF16, 1},
    {"bf16", "bf16", DType::kBF16, 32}, {"q8_0", "int8", DType::kQ8_0, 7},
    {"q4_0", "int4", DType::kQ4_0, 2},  {"q4_1", "q4_1", DType::kQ4_1, 3},
    {"q4_k", "q4_k", DType::kQ4_K, 14}, {"q5_k", "q5_k", DType::kQ5_K, 16},
    {"q6_k", "q6_k", DType::kQ6_K, 18},
};

// field: "type" or "vision type". mixes: the end of the list of names.
const Type& find_type(const char* field, std::string_view name, std::string_view asked,
                      const std::string& mixes) {
  const auto at = std::find_if(std::begin(kTypes), std::end(kTypes),
                               [&](const Type& t) { return t.name == name || t.alias == name; });
  if (at != std::end(kTypes)) return *at;
  if (name == "q5_0" || name == "q5_1") {
    throw Error(ErrorCode::kUnsupported, "", field,
                std::string(name) + " is only read (expected q5_k, which errs less)");
  }
  std::string names;
  for (const Type& type : kTypes) names += std::string(type.name) + ", ";
  throw Error(ErrorCode::kUsage, "", field,
              "unknown (got \"" + escape(asked, 60) + "\", expected one of " + names + mixes + ")");
}

const Type& type_of(DType dtype) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return t.dtype == dtype; });
}

std::string upper(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

bool is_float(DType dtype) { return info(dtype).block_elems == 1; }

bool gets_more_bits(std::int64_t layer, std::int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// The number in "model.language_model.layers.12.mlp.down_proj.weight"; 0 where there is none.
std::int64_t layer_of(std::string_view name) {
  constexpr std::string_view kLayers = ".layers.";
  const std::size_t at = name.find(kLayers);
  std::int64_t layer = 0;
  if (at != name.npos) {
    const std::string_view digits = name.substr(at + kLayers.size());
    std::from_chars(digits.data(), digits.data() + digits.size(), layer);
  }
  return layer;
}

}  // namespace

Recipe::Recipe(std::string_view text_type, std::string_view vision_type) {
  const bool k = text_type.size() == 6 && (text_type.starts_with("q4_k_") || text_type.starts_with("q5_k_"));
  if (k && text_type.ends_with("_s")) mix_ = Mix::kSmall;
  if (k && text_type.ends_with("_m")) mix_ = Mix::kMedium;
  const std::string_view base = mix_ == Mix::kNone ? text_type : text_type.substr(0, 4);
  text_ = find_type("type", base, text_type, "q4_k_s, q4_k_m, q5_k_s, q5_k_m").dtype;
  vision_ = is_float(text_) ? text_ : DType::kQ8_0;
  if (vision_type.empty()) return;
  constexpr std::string_view kMixes[] = {"q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m"};
  if (std::find(std::begin(kMixes), std::end(kMixes), vision_type) != std::end(kMixes)) {
    throw Error(ErrorCode::kUsage, "", "vision type",
                std::string(vision_type) + " is a mix for text models (expected " +
                    std::string(vision_type.substr(0, 4)) + ")");
  }
  vision_ = find_type("vision type", vision_type, vision_type, "for pictures no mix").dtype;
}

DType Recipe::text_matrix(std::string_view name, const RecipeModel& model) const {
  if (is_float(text_) || text_ == DType::kQ8_0) return text_;
  const bool head = name.ends_with("lm_head.weight");
  const bool table = name.ends_with("embed_tokens.weight");
  if ((text_ == DType::kQ4_0 || text_ == DType::kQ4_1) && (head || table)) return DType::kQ6_K;
  if (mix_ == Mix::kNone) return text_;
  if (head || (table && !model.own_head)) return DType::kQ6_K;
  const bool value = name.ends_with("self_attn.v_proj.weight"), down = name.ends_with("mlp.down_proj.weight");
  const std::int64_t layer = layer_of(name), layers = model.layers;
  if (mix_ == Mix::kMedium && (value || down) && gets_more_bits(layer, layers)) return DType::kQ6_K;
  constexpr std::int64_t kBetterValueLayers = 4;
  const bool better = (value && layer < kBetterValueLayers) || (down && layer < layers / 8);
  if (mix_ == Mix::kSmall && text_ == DType::kQ4_K && better) return DType::kQ5_K;
  return text_;
}

DType Recipe::dtype_of(std::string_view name, const Shape& shape, const RecipeModel& model) const {
  if (shape.rank() < 2 || name.ends_with("pos_embed.weight")) return DType::kF32;
  if (name.ends_with("patch_embed.proj.weight")) return vision_ == DType::kF16 ? DType::kF16 : DType::kF32;
  const bool tower = name.starts_with("model.visual.");
  return quant::fitting_format(tower ? vision_ : text_matrix(name, model), shape.back());
}

std::uint32_t Recipe::text_file_type() const {
  return type_of(text_).file_type + (mix_ == Mix::kMedium ? 1 : 0);
}

std::uint32_t Recipe::vision_file_type() const { return type_of(vision_).file_type; }

std::string Recipe::text_label() const {
  constexpr std::string_view kSuffixes[] = {"", "_S", "_M"};
  return upper(type_of(text_).name) + std::string(kSuffixes[static_cast<std::size_t>(mix_)]);
}

std::string Recipe::vision_label() const { return upper(type_of(vision_).name); }

bool Recipe::text_in_blocks() const { return !is_float(text_); }
bool Recipe::vision_in_blocks() const { return !is_float(vision_); }

}  // namespace tessera::qwen3vl
