#include "models/qwen3vl/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "models/qwen3vl/config_checks.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

std::string text_key(const char* name) { return std::string(kTextArchitecture) + "." + name; }
std::string vision_key(const char* name) { return std::string("clip.vision.") + name; }

constexpr std::int64_t kDefaultContext = 262144;
constexpr double kDefaultEpsilon = 1e-6;
constexpr std::array<std::int64_t, 3> kDefaultSections{24, 20, 20};
constexpr std::int64_t kDefaultSectionsHead = 128;

[[noreturn]] void unsupported(const GgufMetadata& metadata, const std::string& key,
                              const std::string& expected) {
  const GgufValue* const value = metadata.find(key);
  throw Error(
      ErrorCode::kUnsupported, metadata.file(), key,
      "not supported (got " + (value ? value->describe() : "nothing") + ", expected " + expected + ")");
}

// A key that, if it is there, must have this value for the model to be what we compute.
void expect(const GgufMetadata& metadata, const std::string& key, std::int64_t value) {
  const auto actual = metadata.find_integer(key, 0, INT64_MAX);
  if (actual && *actual != value) unsupported(metadata, key, std::to_string(value));
}

void expect_true(const GgufMetadata& metadata, const std::string& key) {
  if (!metadata.find_boolean(key).value_or(true)) unsupported(metadata, key, "true");
}

std::int64_t vocabulary_rows(const GgufFile& file) {
  constexpr std::string_view kEmbedding = "token_embd.weight";
  const TensorView* const table = file.checkpoint->find(kEmbedding);
  const auto fail = [&](const std::string& reason) {
    throw Error(ErrorCode::kModel, file.metadata.file(), std::string(kEmbedding), reason);
  };
  if (!table) fail("missing");
  if (table->shape.rank() != 2 || table->shape[0] > kMaxVocabulary) {
    fail("must be a table of at most " + std::to_string(kMaxVocabulary) + " rows (got " +
         table->shape.to_string() + ")");
  }
  return table->shape[0];
}

TextKeys text_keys(const GgufMetadata& metadata) {
  return {.file = metadata.file(),
          .hidden_size = text_key("embedding_length"),
          .layers = text_key("block_count"),
          .heads = text_key("attention.head_count"),
          .key_value_heads = text_key("attention.head_count_kv"),
          .head_dim = text_key("attention.key_length"),
          .mrope_section = text_key("rope.dimension_sections")};
}

// Four numbers, the last 0: files have room for a fourth axis.
std::array<std::int64_t, 3> read_sections(const GgufMetadata& m, std::int64_t head_dim) {
  const std::string key = text_key("rope.dimension_sections");
  if (!m.contains(key) && head_dim == kDefaultSectionsHead) return kDefaultSections;
  const auto section = m.integers(key, 0, kMaxHeadDim);
  const bool three = section.size() == 3 || (section.size() == 4 && section[3] == 0);
  if (!three) m.fail(key, "must be three numbers and 0");
  return {section[0], section[1], section[2]};
}

void check_text_features(const GgufMetadata& m, const TextConfig& config) {
  expect(m, text_key("expert_count"), 0);
  expect(m, text_key("attention.value_length"), config.head_dim);
  expect(m, text_key("rope.dimension_count"), config.head_dim);
  const std::string scaling = text_key("rope.scaling.type");
  if (m.find_string(scaling).value_or("none") != "none") unsupported(m, scaling, "\"none\": no YaRN");
}

TextConfig read_text(const GgufFile& file) {
  const GgufMetadata& m = file.metadata;
  const TextKeys keys = text_keys(m);
  TextConfig config;
  config.num_hidden_layers = m.integer(keys.layers, 1, kMaxLayers);
  config.hidden_size = m.integer(keys.hidden_size, 1, kMaxWidth);
  config.intermediate_size = m.integer(text_key("feed_forward_length"), 1, kMaxWidth);
  config.num_attention_heads = m.integer(keys.heads, 1, kMaxHeads);
  config.num_key_value_heads = m.integer(keys.key_value_heads, 1, kMaxHeads);
  config.head_dim = m.integer(keys.head_dim, 1, kMaxHeadDim);
  config.max_position_embeddings =
      m.find_integer(text_key("context_length"), 1, kMaxPositions).value_or(kDefaultContext);
  config.rms_norm_eps =
      static_cast<float>(m.find_number(text_key("attention.layer_norm_rms_epsilon"), kMinEpsilon, kMaxEpsilon)
                             .value_or(kDefaultEpsilon));
  config.rope_theta = m.find_number(text_key("rope.freq_base"), kMinTheta, kMaxTheta).value_or(kDefaultTheta);
  config.mrope_section = read_sections(m, config.head_dim);
  config.vocab_size = vocabulary_rows(file);
  check_text_features(m, config);
  check_relations(config, keys);
  return config;
}

// The blocks that DeepStack follows, ascending.
std::vector<std::int64_t> read_deepstack(const GgufFile& file, std::int64_t depth) {
  const std::string key = vision_key("is_deepstack_layers");
  const GgufMetadata& m = file.metadata;
  const bool listed = m.contains(key);
  const std::vector<bool> marks = listed ? m.booleans(key) : std::vector<bool>();
  if (listed && static_cast<std::int64_t>(marks.size()) != depth) {
    m.fail(key, "differs in length from " + vision_key("block_count") + " (got " +
                    std::to_string(marks.size()) + ", expected " + std::to_string(depth) + ")");
  }
  std::vector<std::int64_t> taps;
  for (std::int64_t block = 0; block < depth; ++block) {
    const std::string tensor = "v.deepstack." + std::to_string(block) + ".fc1.weight";
    const bool there = file.checkpoint->contains(tensor);
    if (there) taps.push_back(block);
    if (listed && marks[static_cast<std::size_t>(block)] != there) {
      m.fail(key, "says " + std::string(there ? "false" : "true") + " for block " + std::to_string(block) +
                      ", but " + tensor + (there ? " is there" : " is missing"));
    }
  }
  return taps;
}

// The side of the position table, squared.
std::int64_t read_positions(const GgufMetadata& m, std::int64_t patch_size) {
  const std::string key = vision_key("image_size");
  const std::int64_t size = m.integer(key, 1, kMaxWidth);
  if (size % patch_size != 0 || size / patch_size > 1024) {
    m.fail(key, "must be a multiple of " + vision_key("patch_size") + ", at most 1024 times it (got " +
                    std::to_string(size) + " and " + std::to_string(patch_size) + ")");
  }
  return (size / patch_size) * (size / patch_size);
}

void check_vision_features(const GgufMetadata& m) {
  expect_true(m, "clip.has_vision_encoder");
  expect_true(m, "clip.use_gelu");
  expect(m, vision_key("num_channels"), 3);
  expect(m, vision_key("temporal_patch_size"), 2);
  const std::string key = vision_key("attention.layer_norm_epsilon");
  const double epsilon = m.find_number(key, kMinEpsilon, kMaxEpsilon).value_or(kDefaultEpsilon);
  if (static_cast<float>(epsilon) != static_cast<float>(kDefaultEpsilon)) unsupported(m, key, "1e-6");
}

VisionConfig read_vision(const GgufFile& file, const TextConfig& text, const TextKeys& text_keys) {
  const GgufMetadata& m = file.metadata;
  const VisionKeys keys{.file = m.file(),
                        .hidden_size = vision_key("embedding_length"),
                        .heads = vision_key("attention.head_count"),
                        .out_hidden_size = vision_key("projection_dim"),
                        .positions = vision_key("image_size"),
                        .deepstack = vision_key("is_deepstack_layers")};
  check_vision_features(m);
  VisionConfig config;
  config.depth = m.integer(vision_key("block_count"), 1, kMaxLayers);
  config.hidden_size = m.integer(keys.hidden_size, 1, kMaxWidth);
  config.intermediate_size = m.integer(vision_key("feed_forward_length"), 1, kMaxWidth);
  config.num_heads = m.integer(keys.heads, 1, kMaxHeads);
  config.in_channels = 3;
  config.patch_size = m.integer(vision_key("patch_size"), 1, kMaxPatchSize);
  config.temporal_patch_size = 2;
  config.spatial_merge_size = m.integer(vision_key("spatial_merge_size"), 1, kMaxMergeSize);
  config.out_hidden_size = m.integer(keys.out_hidden_size, 1, kMaxWidth);
  config.num_position_embeddings = read_positions(m, config.patch_size);
  config.deepstack_visual_indexes = read_deepstack(file, config.depth);
  check_relations(config, keys, text, text_keys);
  return config;
}

void check_deepstack_count(const GgufMetadata& text, const GgufMetadata& vision, std::size_t taps) {
  const std::string key = text_key("n_deepstack_layers");
  const auto count = text.find_integer(key, 0, kMaxLayers);
  if (!count || *count == static_cast<std::int64_t>(taps)) return;
  text.fail(key, "differs from the DeepStack mergers of " + escape(vision.file()) + " (got " +
                     std::to_string(*count) + ", expected " + std::to_string(taps) + ")");
}

void read_token_ids(const GgufMetadata& m, const TokenizerParts& tokenizer, Config* config) {
  std::string missing;
  const auto id_of = [&](std::string_view text) {
    const auto at = std::find_if(tokenizer.added.begin(), tokenizer.added.end(),
                                 [&](const AddedToken& token) { return token.text == text; });
    if (at != tokenizer.added.end()) return at->id;
    missing += ' ';
    missing += text;
    return std::int32_t{-1};
  };
  config->image_token_id = id_of("<|image_pad|>");
  config->video_token_id = id_of("<|video_pad|>");
  config->vision_start_token_id = id_of("<|vision_start|>");
  config->vision_end_token_id = id_of("<|vision_end|>");
  if (!missing.empty()) m.fail("tokenizer.ggml.tokens", "no control token" + missing);
  for (const std::int32_t id : {config->image_token_id, config->video_token_id, config->vision_start_token_id,
                                config->vision_end_token_id}) {
    if (id < config->text.vocab_size) continue;
    m.fail("tokenizer.ggml.tokens", "control token beyond token_embd.weight (got " + std::to_string(id) +
                                        ", expected below " + std::to_string(config->text.vocab_size) + ")");
  }
  const std::int64_t last = config->text.vocab_size - 1;
  config->eos_token_ids = {static_cast<std::int32_t>(m.integer("tokenizer.ggml.eos_token_id", 0, last))};
}

std::array<float, 3> read_channels(const GgufMetadata& m, const std::string& key, double min, double max) {
  const std::vector<double> values = m.numbers(key, min, max);
  if (values.size() != 3) {
    m.fail(key, "wrong length (got " + std::to_string(values.size()) + ", expected 3)");
  }
  return {static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
}

}  // namespace

void check_text_architecture(const GgufMetadata& text) {
  constexpr char kKey[] = "general.architecture";
  if (text.string(kKey) != kTextArchitecture) unsupported(text, kKey, "\"qwen3vl\"");
}

void check_vision_architecture(const GgufMetadata& vision) {
  constexpr char kKey[] = "general.architecture";
  if (vision.string(kKey) != kVisionArchitecture) unsupported(vision, kKey, "\"clip\"");
  // Files for pictures and sound have the second key.
  const std::string own = "clip.projector_type", mixed = vision_key("projector_type");
  const std::string key = vision.contains(own) || !vision.contains(mixed) ? own : mixed;
  if (vision.string(key) != "qwen3vl_merger") unsupported(vision, key, "\"qwen3vl_merger\"");
}

Config config_from_gguf(const GgufFile& text, const GgufFile& vision, const TokenizerParts& tokenizer) {
  Config config;
  config.text = read_text(text);
  config.vision = read_vision(vision, config.text, text_keys(text.metadata));
  check_deepstack_count(text.metadata, vision.metadata, config.vision.deepstack_visual_indexes.size());
  config.tie_word_embeddings = !text.checkpoint->contains("output.weight");
  read_token_ids(text.metadata, tokenizer, &config);
  return config;
}

PreprocessConfig preprocess_config_from_gguf(const GgufMetadata& vision, const VisionConfig& config) {
  PreprocessConfig preprocess;
  const std::string least = vision_key("image_min_pixels"), most = vision_key("image_max_pixels");
  preprocess.min_pixels = vision.find_integer(least, 1, kMaxPixels).value_or(preprocess.min_pixels);
  preprocess.max_pixels = vision.find_integer(most, 1, kMaxPixels).value_or(preprocess.max_pixels);
  if (preprocess.min_pixels > preprocess.max_pixels) {
    vision.fail(vision.contains(least) ? least : most, "fewest pixels exceed most pixels (got " +
                                                           std::to_string(preprocess.min_pixels) + " and " +
                                                           std::to_string(preprocess.max_pixels) + ")");
  }
  preprocess.patch_size = static_cast<int>(config.patch_size);
  preprocess.temporal_patch_size = static_cast<int>(config.temporal_patch_size);
  preprocess.merge_size = static_cast<int>(config.spatial_merge_size);
  preprocess.mean = read_channels(vision, vision_key("image_mean"), -kMaxMean, kMaxMean);
  preprocess.std = read_channels(vision, vision_key("image_std"), kMinStd, kMaxStd);
  return preprocess;
}

}  // namespace tessera::qwen3vl
