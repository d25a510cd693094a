#include "models/qwen3vl/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string_view>

#include "models/files/json.h"
#include "models/qwen3vl/config_checks.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

using nlohmann::json;

[[noreturn]] void unsupported(const JsonObject& object, std::string_view key, const std::string& expected) {
  const json* const value = object.find(key);
  throw Error(
      ErrorCode::kUnsupported, object.file(), object.path(key),
      "not supported (got " + (value ? describe(*value) : "nothing") + ", expected " + expected + ")");
}

// A key that, if it is there, must have this value for the model to be what we compute.
void expect(const JsonObject& object, std::string_view key, const json& value) {
  const json* const actual = object.find(key);
  if (actual && *actual != value) unsupported(object, key, describe(value));
}

void check_architecture(const JsonObject& top) {
  constexpr std::string_view kArchitecture = "Qwen3VLForConditionalGeneration";
  if (top.string("model_type") != "qwen3_vl") unsupported(top, "model_type", "\"qwen3_vl\"");
  if (top.find("architectures")) {
    const json& names = top.array("architectures");
    if (std::find(names.begin(), names.end(), kArchitecture) == names.end()) {
      const std::string got = names.empty() ? "nothing" : describe(names[0]);
      throw Error(ErrorCode::kUnsupported, top.file(), "architectures",
                  "not supported (got " + got + ", expected \"" + std::string(kArchitecture) + "\")");
    }
  }
  if (top.find("quantization_config")) unsupported(top, "quantization_config", "an unquantized checkpoint");
}

void check_text_features(const JsonObject& text) {
  if (text.find_integer("num_experts", 0, INT64_MAX).value_or(0) > 0) {
    unsupported(text, "num_experts", "a dense model");
  }
  if (text.find("sliding_window") && text.find_boolean("use_sliding_window").value_or(true)) {
    unsupported(text, "sliding_window", "null");
  }
  if (text.find("quantization_config")) unsupported(text, "quantization_config", "an unquantized checkpoint");
  expect(text, "use_sliding_window", false);
  expect(text, "attention_bias", false);
  expect(text, "hidden_act", "silu");
  expect(text, "partial_rotary_factor", 1);
  if (!text.find("layer_types")) return;
  for (const json& type : text.array("layer_types")) {
    if (type != "full_attention") unsupported(text, "layer_types", "\"full_attention\" for all");
  }
}

// Where config.json keeps its rotary settings (spec/qwen3-vl.md §1.2).
JsonObject rope_of(const JsonObject& text) {
  const auto parameters = text.find_object("rope_parameters");
  return parameters ? *parameters : text.object("rope_scaling");
}

TextKeys text_keys(const JsonObject& text) {
  return {.file = text.file(),
          .hidden_size = text.path("hidden_size"),
          .layers = text.path("num_hidden_layers"),
          .heads = text.path("num_attention_heads"),
          .key_value_heads = text.path("num_key_value_heads"),
          .head_dim = text.path("head_dim"),
          .mrope_section = rope_of(text).path("mrope_section")};
}

void read_rope(const JsonObject& text, TextConfig* config) {
  const JsonObject rope = rope_of(text);
  const auto theta = rope.find_number("rope_theta", kMinTheta, kMaxTheta);
  config->rope_theta =
      theta ? *theta : text.find_number("rope_theta", kMinTheta, kMaxTheta).value_or(kDefaultTheta);
  for (const char* key : {"rope_type", "type"}) {
    const std::string type = rope.find_string(key).value_or("default");
    if (type != "default" && type != "mrope") unsupported(rope, key, "\"default\": no YaRN or other scaling");
  }
  const auto section = rope.integers("mrope_section", 0, kMaxHeadDim);
  if (section.size() != 3) rope.fail("mrope_section", "must be three numbers");
  std::copy(section.begin(), section.end(), config->mrope_section.begin());
  config->mrope_interleaved = rope.find_boolean("mrope_interleaved").value_or(true);
}

TextConfig read_text(const JsonObject& text) {
  check_text_features(text);
  TextConfig config;
  config.vocab_size = text.integer("vocab_size", 1, kMaxVocabulary);
  config.hidden_size = text.integer("hidden_size", 1, kMaxWidth);
  config.intermediate_size = text.integer("intermediate_size", 1, kMaxWidth);
  config.num_hidden_layers = text.integer("num_hidden_layers", 1, kMaxLayers);
  config.num_attention_heads = text.integer("num_attention_heads", 1, kMaxHeads);
  config.num_key_value_heads = text.integer("num_key_value_heads", 1, kMaxHeads);
  config.head_dim = text.integer("head_dim", 1, kMaxHeadDim);
  config.max_position_embeddings = text.integer("max_position_embeddings", 1, kMaxPositions);
  config.rms_norm_eps = static_cast<float>(text.number("rms_norm_eps", kMinEpsilon, kMaxEpsilon));
  read_rope(text, &config);
  check_relations(config, text_keys(text));
  return config;
}

VisionConfig read_vision(const JsonObject& vision, const JsonObject& text, const TextConfig& text_config) {
  expect(vision, "hidden_act", "gelu_pytorch_tanh");
  VisionConfig config;
  config.depth = vision.integer("depth", 1, kMaxLayers);
  config.hidden_size = vision.integer("hidden_size", 1, kMaxWidth);
  config.intermediate_size = vision.integer("intermediate_size", 1, kMaxWidth);
  config.num_heads = vision.integer("num_heads", 1, kMaxHeads);
  config.in_channels = vision.integer("in_channels", 1, kMaxWidth);
  config.patch_size = vision.integer("patch_size", 1, kMaxPatchSize);
  config.temporal_patch_size = vision.integer("temporal_patch_size", 1, kMaxPatchSize);
  config.spatial_merge_size = vision.integer("spatial_merge_size", 1, kMaxMergeSize);
  config.out_hidden_size = vision.integer("out_hidden_size", 1, kMaxWidth);
  config.num_position_embeddings = vision.integer("num_position_embeddings", 1, kMaxWidth);
  config.deepstack_visual_indexes = vision.integers("deepstack_visual_indexes", 0, config.depth - 1);
  if (config.in_channels != 3) unsupported(vision, "in_channels", "3");
  const VisionKeys keys{.file = vision.file(),
                        .hidden_size = vision.path("hidden_size"),
                        .heads = vision.path("num_heads"),
                        .out_hidden_size = vision.path("out_hidden_size"),
                        .positions = vision.path("num_position_embeddings"),
                        .deepstack = vision.path("deepstack_visual_indexes")};
  check_relations(config, keys, text_config, text_keys(text));
  return config;
}

void read_token_ids(const JsonObject& top, const JsonObject& text, Config* config) {
  const std::int64_t last = config->text.vocab_size - 1;
  const auto id = [&](std::string_view key) { return static_cast<std::int32_t>(top.integer(key, 0, last)); };
  config->image_token_id = id("image_token_id");
  config->video_token_id = id("video_token_id");
  config->vision_start_token_id = id("vision_start_token_id");
  config->vision_end_token_id = id("vision_end_token_id");
  constexpr std::string_view kEos = "eos_token_id";
  const JsonObject& holder = text.find(kEos) || !top.find(kEos) ? text : top;
  const auto ids = holder.at(kEos).is_array() ? holder.integers(kEos, 0, last)
                                              : std::vector{holder.integer(kEos, 0, last)};
  if (ids.empty()) holder.fail(kEos, "names no token");
  config->eos_token_ids.assign(ids.begin(), ids.end());
}

std::array<float, 3> read_channels(const JsonObject& object, std::string_view key, double min, double max) {
  const std::vector<double> values = object.numbers(key, min, max);
  if (values.size() != 3) {
    object.fail(key, "wrong length (got " + std::to_string(values.size()) + ", expected 3)");
  }
  return {static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
}

int read_size(const JsonObject& object, std::string_view key, std::int64_t expected) {
  const std::int64_t value = object.integer(key, 1, kMaxPatchSize);
  if (value != expected) {
    object.fail(key, "differs from vision_config in config.json (got " + std::to_string(value) +
                         ", expected " + std::to_string(expected) + ")");
  }
  return static_cast<int>(value);
}

PreprocessConfig read_preprocess(const JsonObject& object, const VisionConfig& vision) {
  for (const char* step : {"do_convert_rgb", "do_resize", "do_rescale", "do_normalize"}) {
    expect(object, step, true);
  }
  constexpr int kBicubic = 3;  // PIL.Image.Resampling
  expect(object, "resample", kBicubic);
  const auto factor = object.find_number("rescale_factor", 0, 1);
  if (factor && std::abs(*factor * 255 - 1) > 1e-6) unsupported(object, "rescale_factor", "1/255");

  PreprocessConfig config;
  const auto pixels = [&](std::string_view key, std::string_view size_key) {
    const auto direct = object.find_integer(key, 1, kMaxPixels);
    return direct ? *direct : object.object("size").integer(size_key, 1, kMaxPixels);
  };
  config.min_pixels = pixels("min_pixels", "shortest_edge");
  config.max_pixels = pixels("max_pixels", "longest_edge");
  if (config.min_pixels > config.max_pixels) {
    object.fail(object.find("min_pixels") ? "min_pixels" : "size",
                "fewest pixels exceed most pixels (got " + std::to_string(config.min_pixels) + " and " +
                    std::to_string(config.max_pixels) + ")");
  }
  config.patch_size = read_size(object, "patch_size", vision.patch_size);
  config.temporal_patch_size = read_size(object, "temporal_patch_size", vision.temporal_patch_size);
  config.merge_size = read_size(object, "merge_size", vision.spatial_merge_size);
  config.mean = read_channels(object, "image_mean", -kMaxMean, kMaxMean);
  config.std = read_channels(object, "image_std", kMinStd, kMaxStd);
  return config;
}

std::string join(const std::string& folder, std::string_view name) {
  return (std::filesystem::path(folder) / name).string();
}

}  // namespace

Config config_from_folder(const std::string& folder) {
  const std::string file = join(folder, "config.json");
  const json document = read_json_file(file, kMaxConfigBytes);
  const JsonObject top(document, file);
  check_architecture(top);
  const JsonObject text = top.object("text_config");
  Config config;
  config.text = read_text(text);
  config.vision = read_vision(top.object("vision_config"), text, config.text);
  constexpr std::string_view kTie = "tie_word_embeddings";
  const auto tie = top.find_boolean(kTie);
  config.tie_word_embeddings = tie ? *tie : text.find_boolean(kTie).value_or(false);
  read_token_ids(top, text, &config);
  return config;
}

PreprocessConfig preprocess_config_from_folder(const std::string& folder, const VisionConfig& vision) {
  const std::string own = join(folder, "preprocessor_config.json");
  const std::string shared = join(folder, "processor_config.json");
  std::error_code error;
  if (std::filesystem::exists(own, error)) {
    const json document = read_json_file(own, kMaxConfigBytes);
    return read_preprocess(JsonObject(document, own), vision);
  }
  if (!std::filesystem::exists(shared, error)) {
    throw Error(ErrorCode::kModel, folder, "",
                "holds neither preprocessor_config.json nor processor_config.json");
  }
  const json document = read_json_file(shared, kMaxConfigBytes);
  return read_preprocess(JsonObject(document, shared).object("image_processor"), vision);
}

}  // namespace tessera::qwen3vl
