#include "models/qwen3vl/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/golden.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"

// The names C1 … C14 are rows of reliability.md §3.3.
namespace tessera::qwen3vl {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::TempDir;

json golden_json(const std::string& name) {
  std::ifstream file(testing::golden("qwen3vl/" + name));
  return json::parse(file);
}

Config read_config(const json& value) {
  const TempDir dir;
  dir.write("config.json", value.dump());
  return config_from_folder(dir.path());
}

// config-dense.json with one value replaced or added, and with one removed.
json changed(const std::string& pointer, const json& value) {
  json config = golden_json("config-dense.json");
  config[json::json_pointer(pointer)] = value;
  return config;
}

json without(const std::string& pointer) {
  const json::json_pointer at(pointer);
  json config = golden_json("config-dense.json");
  config[at.parent_pointer()].erase(at.back());
  return config;
}

#define EXPECT_REFUSED(config, ...) \
  EXPECT_TESSERA_ERROR(read_config(config), kModel, "config.json: ", __VA_ARGS__)
#define EXPECT_UNSUPPORTED(config, ...) \
  EXPECT_TESSERA_ERROR(read_config(config), kUnsupported, "config.json: ", __VA_ARGS__)

TEST(Config, ReadsTheOldRotarySpelling) {
  const Config config = read_config(golden_json("config-dense.json"));
  EXPECT_EQ(config.text.vocab_size, 768);
  EXPECT_EQ(config.text.hidden_size, 96);
  EXPECT_EQ(config.text.intermediate_size, 160);
  EXPECT_EQ(config.text.num_hidden_layers, 4);
  EXPECT_EQ(config.text.num_attention_heads, 4);
  EXPECT_EQ(config.text.num_key_value_heads, 2);
  EXPECT_EQ(config.text.head_dim, 128);
  EXPECT_EQ(config.text.max_position_embeddings, 1024);
  EXPECT_EQ(config.text.rms_norm_eps, 1e-6f);
  EXPECT_EQ(config.text.rope_theta, 5e6);
  EXPECT_THAT(config.text.mrope_section, ElementsAre(24, 20, 20));
  EXPECT_TRUE(config.text.mrope_interleaved);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config.vision.depth, 4);
  EXPECT_EQ(config.vision.hidden_size, 128);
  EXPECT_EQ(config.vision.intermediate_size, 224);
  EXPECT_EQ(config.vision.num_heads, 2);
  EXPECT_EQ(config.vision.in_channels, 3);
  EXPECT_EQ(config.vision.patch_size, 16);
  EXPECT_EQ(config.vision.temporal_patch_size, 2);
  EXPECT_EQ(config.vision.spatial_merge_size, 2);
  EXPECT_EQ(config.vision.out_hidden_size, 96);
  EXPECT_EQ(config.vision.num_position_embeddings, 64);
  EXPECT_THAT(config.vision.deepstack_visual_indexes, ElementsAre(0, 1, 2));
  EXPECT_EQ(config.image_token_id, 658);
  EXPECT_EQ(config.video_token_id, 659);
  EXPECT_EQ(config.vision_start_token_id, 655);
  EXPECT_EQ(config.vision_end_token_id, 656);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(648));
}

TEST(Config, ReadsTheNewRotarySpelling) {
  const Config config = read_config(golden_json("config-untied.json"));
  EXPECT_EQ(config.text.rope_theta, 5e6);
  EXPECT_THAT(config.text.mrope_section, ElementsAre(24, 20, 20));
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.vision.hidden_size / config.vision.num_heads, 72);
  EXPECT_EQ(config.vision.intermediate_size, 300);
}

TEST(Config, RotarySettingsHaveDefaultsAndPriorities) {
  EXPECT_EQ(read_config(without("/text_config/rope_theta")).text.rope_theta, 5e6);
  EXPECT_EQ(read_config(changed("/text_config/rope_scaling/rope_theta", 7)).text.rope_theta, 7);
  EXPECT_TRUE(read_config(without("/text_config/rope_scaling/mrope_interleaved")).text.mrope_interleaved);
  EXPECT_FALSE(
      read_config(changed("/text_config/rope_scaling/mrope_interleaved", false)).text.mrope_interleaved);
  json old = without("/text_config/rope_scaling/rope_type");
  old["text_config"]["rope_scaling"]["type"] = "mrope";
  EXPECT_EQ(read_config(old).text.rope_theta, 5e6);
}

TEST(Config, TopLevelTieFlagWins) {
  EXPECT_FALSE(read_config(changed("/tie_word_embeddings", false)).tie_word_embeddings);
  EXPECT_TRUE(read_config(without("/tie_word_embeddings")).tie_word_embeddings);
  json silent = without("/tie_word_embeddings");
  silent["text_config"].erase("tie_word_embeddings");
  EXPECT_FALSE(read_config(silent).tie_word_embeddings);
}

TEST(Config, RefusesFilesThatCannotBeRead) {
  const TempDir dir;
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, dir / "config.json", "No such file");  // C1
  std::filesystem::create_directory(dir / "config.json");
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "not a regular file");  // C1
  std::filesystem::remove(dir / "config.json");
  dir.write("config.json", "");
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "empty file");  // C1
  dir.write("config.json", "{\"model_type\":\n");
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "model_type: line 1, column 15");  // C2
  dir.write("config.json", "\xEF\xBB\xBF{}");
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "line 1", "byte order mark");  // C2
  dir.write("config.json", "{\"a\": " + std::string(100'000, '['));
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "nesting deeper than 64");  // C2
  dir.write("config.json", "{\"model_type\": 1, \"model_type\": 2}");
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "model_type: ", "duplicate key");  // C2
  dir.write("config.json", "{\"text_config\": {\"rope_theta\": 1e400}}");
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "text_config.rope_theta: ", "1e400");  // C5
  dir.write("config.json", "{\"text_config\": {\"rope_theta\": NaN}}");
  EXPECT_TESSERA_ERROR(config_from_folder(dir.path()), kModel, "text_config.rope_theta: ", "literal");  // C5
}

TEST(Config, RefusesOtherModels) {  // C3
  EXPECT_UNSUPPORTED(changed("/model_type", "llama"), "model_type: ", "got \"llama\", expected \"qwen3_vl\"");
  EXPECT_UNSUPPORTED(
      changed("/architectures", {"Qwen3VLMoeForConditionalGeneration"}), "architectures: ",
      "got \"Qwen3VLMoeForConditionalGeneration\", expected \"Qwen3VLForConditionalGeneration\"");
  EXPECT_UNSUPPORTED(changed("/architectures", json::array()), "architectures: ", "got nothing");
  EXPECT_NO_THROW(read_config(without("/architectures")));
  for (const char* other : {"moe", "qwen3", "qwen25vl"}) {
    const std::string folder = std::string("checkpoints/") + other;
    TESSERA_REQUIRE_SHARED(folder);
    EXPECT_TESSERA_ERROR(config_from_folder(testing::shared_golden(folder)), kUnsupported, "model_type: ");
  }
}

TEST(Config, NamesTheMissingKey) {  // C4, C14
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "rms_norm_eps", "max_position_embeddings", "rope_scaling",
        "rope_scaling/mrope_section", "eos_token_id"}) {
    std::string path = key;
    std::replace(path.begin(), path.end(), '/', '.');
    EXPECT_REFUSED(without(std::string("/text_config/") + key), "text_config." + path + ": missing");
  }
  for (const char* key : {"depth", "hidden_size", "intermediate_size", "num_heads", "in_channels",
                          "patch_size", "temporal_patch_size", "spatial_merge_size", "out_hidden_size",
                          "num_position_embeddings", "deepstack_visual_indexes"}) {
    EXPECT_REFUSED(without(std::string("/vision_config/") + key),
                   std::string("vision_config.") + key + ": missing");
  }
  for (const char* key : {"model_type", "text_config", "vision_config", "image_token_id", "video_token_id",
                          "vision_start_token_id", "vision_end_token_id"}) {
    EXPECT_REFUSED(without(std::string("/") + key), std::string(key) + ": missing");
  }
}

TEST(Config, RefusesValuesOfTheWrongType) {  // C5
  for (const json& value : {json("4096"), json(4096.5), json(true), json()}) {
    EXPECT_REFUSED(changed("/text_config/hidden_size", value),
                   "text_config.hidden_size: ", "got " + value.dump());
  }
}

TEST(Config, RefusesZeroAndNegativeSizes) {  // C6
  for (const char* key :
       {"/text_config/num_attention_heads", "/text_config/num_key_value_heads",
        "/text_config/num_hidden_layers", "/text_config/hidden_size", "/text_config/head_dim",
        "/vision_config/depth", "/vision_config/num_heads", "/vision_config/hidden_size",
        "/vision_config/patch_size", "/vision_config/spatial_merge_size",
        "/vision_config/temporal_patch_size", "/vision_config/num_position_embeddings"}) {
    std::string path = key + 1;
    std::replace(path.begin(), path.end(), '/', '.');
    EXPECT_REFUSED(changed(key, 0), path + ": ", "got 0");
    EXPECT_REFUSED(changed(key, -8), path + ": ", "got -8");
  }
}

TEST(Config, StatesTheRelationThatDoesNotHold) {  // C7
  EXPECT_REFUSED(changed("/text_config/num_key_value_heads", 3),
                 "num_attention_heads: ", "multiple of text_config.num_key_value_heads (got 4 and 3)");
  EXPECT_REFUSED(changed("/text_config/head_dim", 127), "text_config.head_dim: must be even (got 127)");
  const char* sections = "text_config.rope_scaling.mrope_section: ";
  EXPECT_REFUSED(changed("/text_config/rope_scaling/mrope_section", {24, 20, 21}), sections,
                 "head_dim / 2 = 64");
  EXPECT_REFUSED(changed("/text_config/rope_scaling/mrope_section", {44, 20}), sections, "three numbers");
  EXPECT_REFUSED(changed("/text_config/rope_scaling/mrope_section", {20, 22, 22}), sections, "three times");
  EXPECT_REFUSED(changed("/vision_config/deepstack_visual_indexes", {0, 1, 4}),
                 "vision_config.deepstack_visual_indexes[2]: ", "got 4", "from 0 to 3");
  EXPECT_REFUSED(changed("/vision_config/deepstack_visual_indexes", {0, 2, 2}), "strictly increasing");
  json deep = changed("/vision_config/deepstack_visual_indexes", {0, 1, 2, 3});
  deep["text_config"]["num_hidden_layers"] = 3;
  EXPECT_REFUSED(deep, "more entries than text_config.num_hidden_layers (got 4, limit 3)");
  EXPECT_REFUSED(changed("/vision_config/num_heads", 3), "vision_config.hidden_size: ", "multiple of 4");
  EXPECT_REFUSED(changed("/vision_config/out_hidden_size", 95),
                 "vision_config.out_hidden_size: ", "got 95, expected 96");
  EXPECT_REFUSED(changed("/vision_config/num_position_embeddings", 63),
                 "num_position_embeddings: ", "square");
}

TEST(Config, RefusesSizesOverTheLimits) {  // C8
  EXPECT_REFUSED(changed("/text_config/num_hidden_layers", 1'000'000'000), "got 1000000000", "to 1024");
  EXPECT_REFUSED(changed("/text_config/vocab_size", 1'000'000'000'000), "text_config.vocab_size: ");
  EXPECT_REFUSED(changed("/text_config/max_position_embeddings", 1'000'000'000'000'000),
                 "text_config.max_position_embeddings: ");
  EXPECT_REFUSED(changed("/vision_config/depth", 18446744073709551615u), "vision_config.depth: ");
}

TEST(Config, RefusesSenselessRotaryBaseAndEpsilon) {  // C10
  for (const double theta : {0.0, -1.0, 1e300}) {
    EXPECT_REFUSED(changed("/text_config/rope_theta", theta), "text_config.rope_theta: ");
  }
  EXPECT_REFUSED(changed("/text_config/rms_norm_eps", 0), "text_config.rms_norm_eps: ", "got 0");
}

TEST(Config, IgnoresKeysThatMeanNothing) {  // C11
  EXPECT_NO_THROW(read_config(changed("/text_config/unheard_of", {{"a", 1}})));
}

TEST(Config, RefusesFeaturesThatTheModelLacks) {  // C12
  EXPECT_UNSUPPORTED(changed("/quantization_config", {{"bits", 4}}), "quantization_config: not supported");
  EXPECT_UNSUPPORTED(changed("/text_config/num_experts", 8), "text_config.num_experts: ", "got 8");
  EXPECT_UNSUPPORTED(changed("/text_config/sliding_window", 4096), "text_config.sliding_window: ");
  EXPECT_UNSUPPORTED(changed("/text_config/use_sliding_window", true), "text_config.use_sliding_window: ");
  EXPECT_UNSUPPORTED(changed("/text_config/attention_bias", true), "text_config.attention_bias: ");
  EXPECT_UNSUPPORTED(changed("/text_config/hidden_act", "gelu"),
                     "text_config.hidden_act: ", "expected \"silu\"");
  EXPECT_UNSUPPORTED(changed("/text_config/partial_rotary_factor", 0.5), "partial_rotary_factor: ");
  EXPECT_UNSUPPORTED(changed("/text_config/layer_types", {"sliding_attention"}), "text_config.layer_types: ");
  EXPECT_UNSUPPORTED(changed("/text_config/rope_scaling/rope_type", "yarn"),
                     "text_config.rope_scaling.rope_type: ", "got \"yarn\"", "no YaRN");
  EXPECT_UNSUPPORTED(changed("/vision_config/hidden_act", "silu"), "vision_config.hidden_act: ");
  EXPECT_UNSUPPORTED(changed("/vision_config/in_channels", 4), "vision_config.in_channels: ");
  json unused = changed("/text_config/sliding_window", 4096);
  unused["text_config"]["use_sliding_window"] = false;
  EXPECT_NO_THROW(read_config(unused));
}

TEST(Config, RefusesTokenIdsOutsideTheVocabulary) {  // C14
  EXPECT_REFUSED(changed("/image_token_id", 768), "image_token_id: ", "got 768", "from 0 to 767");
  EXPECT_REFUSED(changed("/text_config/eos_token_id", -1), "text_config.eos_token_id: ", "got -1");
  EXPECT_REFUSED(changed("/text_config/eos_token_id", {1, 768}), "text_config.eos_token_id[1]: ");
  EXPECT_REFUSED(changed("/text_config/eos_token_id", json::array()), "eos_token_id: names no token");
  EXPECT_THAT(read_config(changed("/text_config/eos_token_id", {648, 646})).eos_token_ids,
              ElementsAre(648, 646));
}

PreprocessConfig read_preprocess(const json& value, const std::string& file = "preprocessor_config.json") {
  const TempDir dir;
  dir.write(file, value.dump());
  return preprocess_config_from_folder(dir.path(), read_config(golden_json("config-dense.json")).vision);
}

json preprocess_changed(const std::string& key, const json& value) {
  json config = golden_json("preprocessor-dense.json");
  config[key] = value;
  return config;
}

TEST(PreprocessConfig, ReadsBothFiles) {
  const json golden = golden_json("preprocessor-dense.json");
  const json wrapped = {{"image_processor", golden}};
  for (const PreprocessConfig& config :
       {read_preprocess(golden), read_preprocess(wrapped, "processor_config.json")}) {
    EXPECT_EQ(config.min_pixels, 4096);
    EXPECT_EQ(config.max_pixels, 65536);
    EXPECT_EQ(config.patch_size, 16);
    EXPECT_EQ(config.temporal_patch_size, 2);
    EXPECT_EQ(config.merge_size, 2);
    EXPECT_THAT(config.mean, ElementsAre(0.5f, 0.5f, 0.5f));
    EXPECT_THAT(config.std, ElementsAre(0.5f, 0.5f, 0.5f));
  }
}

TEST(PreprocessConfig, ExplicitPixelLimitsOverrideSize) {
  json config = preprocess_changed("min_pixels", 1024);
  config["max_pixels"] = 2048;
  EXPECT_EQ(read_preprocess(config).min_pixels, 1024);
  EXPECT_EQ(read_preprocess(config).max_pixels, 2048);
}

TEST(PreprocessConfig, RefusesBadValues) {  // C13
  const auto refused = [](const json& config, const std::string& field, const std::string& reason) {
    EXPECT_TESSERA_ERROR(read_preprocess(config), kModel, "preprocessor_config.json: " + field + ": ",
                         reason);
  };
  refused(preprocess_changed("size", {{"shortest_edge", 5}, {"longest_edge", 4}}), "size", "got 5 and 4");
  refused(preprocess_changed("min_pixels", 100000), "min_pixels", "got 100000 and 65536");
  refused(preprocess_changed("size", json::object()), "size.shortest_edge", "missing");
  refused(preprocess_changed("image_std", {0.5, 0, 0.5}), "image_std[1]", "got 0");
  refused(preprocess_changed("image_mean", {0.5}), "image_mean", "got 1, expected 3");
  refused(preprocess_changed("patch_size", 14), "patch_size", "got 14, expected 16");
  refused(preprocess_changed("merge_size", 4), "merge_size", "got 4, expected 2");
  refused(preprocess_changed("temporal_patch_size", json()), "temporal_patch_size", "null");
  EXPECT_TESSERA_ERROR(read_preprocess(json::object(), "other.json"), kModel,
                       "neither preprocessor_config.json nor processor_config.json");
}

TEST(PreprocessConfig, RefusesOtherProcessing) {  // C12
  for (const auto& [key, value] : {std::pair<std::string, json>{"do_resize", false},
                                   {"do_normalize", false},
                                   {"resample", 2},
                                   {"rescale_factor", 0.5}}) {
    EXPECT_TESSERA_ERROR(read_preprocess(preprocess_changed(key, value)), kUnsupported,
                         "preprocessor_config.json: " + key + ": ");
  }
  EXPECT_NO_THROW(read_preprocess(preprocess_changed("rescale_factor", 0.00392156862745098)));
}

}  // namespace
}  // namespace tessera::qwen3vl
