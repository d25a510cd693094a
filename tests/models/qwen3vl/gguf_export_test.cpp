// Our files beside those that llama.cpp's converter and quantizer made of the same folders.
#include "models/qwen3vl/gguf_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "models/files/gguf.h"
#include "models/files/gguf_types.h"
#include "tests/golden.h"
#include "tests/models/files/expect_error.h"

namespace tessera::qwen3vl {
namespace {

using ::testing::HasSubstr;

struct Pair {
  std::string theirs, folder, type, vision_type;
  GgufPart part;
};

std::ostream& operator<<(std::ostream& out, const Pair& pair) { return out << pair.theirs; }

class BesideLlamaCpp : public ::testing::TestWithParam<Pair> {
 protected:
  void SetUp() override {
    TESSERA_REQUIRE_SHARED("gguf/" + GetParam().theirs);
    theirs_.emplace(read_gguf(shared_golden("gguf/" + GetParam().theirs)));
    const Recipe recipe(GetParam().type, GetParam().vision_type);
    ours_ = export_gguf(open_model_files(shared_golden(GetParam().folder)), recipe, GetParam().part);
  }
  static std::string shared_golden(const std::string& path) { return testing::shared_golden(path); }

  std::optional<GgufFile> theirs_;
  GgufExport ours_;
};

TEST_P(BesideLlamaCpp, TensorsHaveTheSameNamesTypesAndExtents) {
  std::map<std::string, std::string> theirs, ours;
  for (const Checkpoint::Entry& entry : theirs_->checkpoint->entries())
    theirs[entry.name] = entry.dtype + " " + entry.shape.to_string();
  for (const GgufExport::Item& item : ours_.items)
    ours[item.target.name] =
        std::string(find_ggml_type(item.target.dtype)->name) + " " + item.target.shape.to_string();
  EXPECT_EQ(ours, theirs);
}

TEST_P(BesideLlamaCpp, KeysHaveTheSameTypesAndValues) {
  // Keys of ours alone, and why.
  const std::map<std::string, std::string> additions = {
      {"tokenizer.ggml.eos_token_ids", "generation_config.json ends answers at several tokens"},
      {"clip.vision.image_min_pixels", "the picture sizes of preprocessor_config.json"},
      {"clip.vision.image_max_pixels", "the same"},
      {"clip.vision.temporal_patch_size", "the same"},
  };
  std::set<std::string> additional;
  for (const GgufMetadata::Item& item : ours_.metadata.items()) {
    if (!theirs_->metadata.contains(item.key)) {
      additional.insert(item.key);
      EXPECT_TRUE(additions.contains(item.key)) << item.key;
    }
  }
  EXPECT_FALSE(additional.empty());
  for (const GgufMetadata::Item& item : theirs_->metadata.items()) {
    const GgufValue* const value = ours_.metadata.find(item.key);
    ASSERT_TRUE(value) << item.key;
    EXPECT_EQ(*value, item.value) << item.key << ": " << value->describe() << ", expected "
                                  << item.value.describe();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Golden, BesideLlamaCpp,
    ::testing::Values(Pair{"dense-bf16.gguf", "checkpoints/dense", "bf16", "", GgufPart::kText},
                      Pair{"mmproj-dense-f16.gguf", "checkpoints/dense", "bf16", "f16", GgufPart::kVision},
                      Pair{"shapes-vl-bf16.gguf", "shapes-vl", "bf16", "", GgufPart::kText},
                      Pair{"shapes-vl-q8_0.gguf", "shapes-vl", "int8", "", GgufPart::kText},
                      Pair{"shapes-vl-q4_0.gguf", "shapes-vl", "int4", "", GgufPart::kText},
                      Pair{"shapes-vl-q4_k_m.gguf", "shapes-vl", "q4_k_m", "", GgufPart::kText},
                      Pair{"mmproj-shapes-vl-f16.gguf", "shapes-vl", "int4", "f16", GgufPart::kVision}),
    [](const auto& pair) {
      std::string name = pair.param.theirs.substr(0, pair.param.theirs.size() - 5);
      for (char& c : name) c = c == '-' ? '_' : c;
      return name;
    });

TEST(GgufExport, WritesAnUntiedHead) {
  TESSERA_REQUIRE_SHARED("checkpoints/untied");
  const ModelFiles files = open_model_files(testing::shared_golden("checkpoints/untied"));
  const GgufExport text = export_gguf(files, Recipe("q4_k_m"), GgufPart::kText);
  std::map<std::string, DType> types;
  for (const GgufExport::Item& item : text.items) types[item.target.name] = item.target.dtype;
  // Rows of 112: no block fits, so all of them fall back to f16.
  EXPECT_EQ(types.at("output.weight"), DType::kF16);
  EXPECT_EQ(types.at("token_embd.weight"), DType::kF16);
  EXPECT_EQ(types.at("blk.0.attn_output.weight"), DType::kQ4_K);  // 768 columns
  EXPECT_EQ(types.size(), text.items.size());
}

TEST(GgufExport, GreedyModelsHaveTemperatureZero) {
  TESSERA_REQUIRE_SHARED("shapes-vl");
  ModelFiles files = open_model_files(testing::shared_golden("shapes-vl"));
  files.generation.do_sample = false;
  files.generation.repetition_penalty = 1.1f;
  const GgufExport text = export_gguf(files, Recipe("bf16"), GgufPart::kText);
  EXPECT_EQ(text.metadata.number("general.sampling.temp", 0, 1), 0);
  EXPECT_FALSE(text.metadata.contains("general.sampling.top_k"));
  EXPECT_FLOAT_EQ(static_cast<float>(text.metadata.number("general.sampling.penalty_repeat", 0, 9)), 1.1f);
}

TEST(GgufExport, RefusesWhatTheFilesCannotSay) {
  TESSERA_REQUIRE_SHARED("shapes-vl");
  ModelFiles files = open_model_files(testing::shared_golden("shapes-vl"));
  files.config.text.mrope_interleaved = false;
  EXPECT_TESSERA_ERROR(export_gguf(files, Recipe("bf16"), GgufPart::kText), kUnsupported,
                       "mrope_interleaved: ");
  files = open_model_files(testing::shared_golden("shapes-vl"));
  files.preprocess.max_pixels = std::int64_t{1} << 33;
  EXPECT_TESSERA_ERROR(export_gguf(files, Recipe("bf16"), GgufPart::kVision), kUnsupported,
                       "image_max_pixels: ", "8589934592");
}

// gguf-py: Metadata.id_to_title, model_weight_count_rounded_notation.
TEST(GgufExport, NamesAndSizesAreThoseOfLlamaCpp) {
  EXPECT_EQ(title_of("shapes-vl"), "Shapes Vl");
  EXPECT_EQ(title_of("Qwen3-VL-4B-Instruct"), "Qwen3 VL 4B Instruct");
  EXPECT_EQ(title_of("my-4b-v1.5-model_x"), "My 4b v1.5 Model_X");
  EXPECT_EQ(title_of(""), "");
  EXPECT_EQ(size_label(850'000), "850K");
  EXPECT_EQ(size_label(3'300'000), "3.3M");
  EXPECT_EQ(size_label(4'022'468'096), "4.0B");
  EXPECT_EQ(size_label(31'070'000'000), "31B");
  EXPECT_EQ(size_label(512), "0.5K");
  EXPECT_EQ(size_label(300), "0.30K");
}

}  // namespace
}  // namespace tessera::qwen3vl
