#include "models/qwen3vl/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/models/files/expect_error.h"

namespace tessera::qwen3vl {
namespace {

constexpr const char* kText = "model.language_model.";

std::string layer(int i, const std::string& name) {
  return kText + ("layers." + std::to_string(i)) + "." + name + ".weight";
}

DType text_type(const Recipe& recipe, const std::string& name, const RecipeModel& model,
                std::int64_t columns = 2560) {
  return recipe.dtype_of(name, {1024, columns}, model);
}

// The layers in which a matrix gets another type than the mix's base.
std::string better_layers(const Recipe& recipe, const std::string& name, const RecipeModel& model) {
  const std::map<DType, std::string> names = {{DType::kQ5_K, "5"}, {DType::kQ6_K, "6"}};
  const DType base = text_type(recipe, layer(0, "mlp.up_proj"), model);
  std::string out;
  for (int i = 0; i < model.layers; ++i) {
    const DType dtype = text_type(recipe, layer(i, name), model);
    out += dtype == base ? "." : names.at(dtype);
  }
  return out;
}

TEST(Recipe, KeepsVectorsAndThePositionTableInF32) {
  const RecipeModel model{36, false};
  for (const char* type : {"f16", "bf16", "q8_0", "int4", "q4_k_m"}) {
    const Recipe recipe(type);
    EXPECT_EQ(recipe.dtype_of(layer(0, "input_layernorm"), {2560}, model), DType::kF32);
    EXPECT_EQ(recipe.dtype_of("model.visual.blocks.0.attn.qkv.bias", {3072}, model), DType::kF32);
    EXPECT_EQ(recipe.dtype_of("model.visual.pos_embed.weight", {2304, 1024}, model), DType::kF32);
  }
}

TEST(Recipe, PatchEmbeddingIsNeverInBlocks) {
  const RecipeModel model{36, false};
  const Shape shape{1024, 3, 2, 16, 16};
  const auto dtype = [&](const Recipe& recipe) {
    return recipe.dtype_of("model.visual.patch_embed.proj.weight", shape, model);
  };
  EXPECT_EQ(dtype(Recipe("f16")), DType::kF16);
  EXPECT_EQ(dtype(Recipe("q4_0", "f16")), DType::kF16);
  EXPECT_EQ(dtype(Recipe("bf16")), DType::kF32);
  EXPECT_EQ(dtype(Recipe("q8_0")), DType::kF32);
}

TEST(Recipe, TheTowerFollowsFloatTypesAndIsQ8_0Otherwise) {
  const RecipeModel model{36, false};
  const auto dtype = [&](const Recipe& recipe, std::int64_t columns) {
    return recipe.dtype_of("model.visual.blocks.3.mlp.linear_fc2.weight", {1024, columns}, model);
  };
  EXPECT_EQ(dtype(Recipe("fp32"), 4096), DType::kF32);
  EXPECT_EQ(dtype(Recipe("fp16"), 4096), DType::kF16);
  EXPECT_EQ(dtype(Recipe("bf16"), 4096), DType::kBF16);
  for (const char* type : {"int8", "int4", "q4_1", "q4_k", "q5_k_m", "q6_k"})
    EXPECT_EQ(dtype(Recipe(type), 4096), DType::kQ8_0) << type;
  EXPECT_EQ(dtype(Recipe("bf16", "q4_k"), 4096), DType::kQ4_K);
  // Width 1152 and 4304 of the large tower (spec 9.3).
  EXPECT_EQ(dtype(Recipe("bf16", "q4_k"), 1152), DType::kQ5_0);
  EXPECT_EQ(dtype(Recipe("int8"), 4304), DType::kF16);
  EXPECT_EQ(dtype(Recipe("bf16"), 4304), DType::kBF16);
}

TEST(Recipe, TablesAndHead) {
  const RecipeModel tied{36, false}, untied{36, true};
  const std::string table = std::string(kText) + "embed_tokens.weight", head = "lm_head.weight";
  const auto both = [&](const char* type) {
    const Recipe recipe(type);
    return std::pair(text_type(recipe, table, untied), text_type(recipe, head, untied));
  };
  using P = std::pair<DType, DType>;
  EXPECT_EQ(both("bf16"), (P{DType::kBF16, DType::kBF16}));
  EXPECT_EQ(both("int8"), (P{DType::kQ8_0, DType::kQ8_0}));
  EXPECT_EQ(both("int4"), (P{DType::kQ6_K, DType::kQ6_K}));
  EXPECT_EQ(both("q4_1"), (P{DType::kQ6_K, DType::kQ6_K}));
  EXPECT_EQ(both("q4_k"), (P{DType::kQ4_K, DType::kQ4_K}));
  EXPECT_EQ(both("q4_k_m"), (P{DType::kQ4_K, DType::kQ6_K}));
  EXPECT_EQ(both("q5_k_s"), (P{DType::kQ5_K, DType::kQ6_K}));
  EXPECT_EQ(text_type(Recipe("q4_k_s"), table, tied), DType::kQ6_K);
  // Rows that hold no blocks of 256.
  EXPECT_EQ(text_type(Recipe("int4"), table, tied, 96), DType::kQ8_0);
  EXPECT_EQ(text_type(Recipe("int4"), table, tied, 112), DType::kF16);
}

// llama.cpp's own choice for 28 and 36 layers: use_more_bits(i, n) of llama-quant.cpp, by hand.
TEST(Recipe, MixesGiveMoreBitsWhereLlamaCppDoes) {
  const RecipeModel small{28, false}, large{36, false};
  const Recipe medium("q4_k_m");
  EXPECT_EQ(better_layers(medium, "self_attn.v_proj", small), "666..6..6..6..6..6..6..66666");
  EXPECT_EQ(better_layers(medium, "mlp.down_proj", large), "6666..6..6..6..6..6..6..6..6..666666");
  EXPECT_EQ(better_layers(Recipe("q5_k_m"), "mlp.down_proj", small), "666..6..6..6..6..6..6..66666");
  EXPECT_EQ(better_layers(Recipe("q4_k_s"), "self_attn.v_proj", small), "5555........................");
  EXPECT_EQ(better_layers(Recipe("q4_k_s"), "mlp.down_proj", small), "555.........................");
  EXPECT_EQ(better_layers(Recipe("q5_k_s"), "mlp.down_proj", small), std::string(28, '.'));
  EXPECT_EQ(better_layers(Recipe("q4_k"), "mlp.down_proj", small), std::string(28, '.'));
  EXPECT_EQ(better_layers(medium, "self_attn.q_proj", small), std::string(28, '.'));
}

TEST(Recipe, FileTypesAreGgmls) {
  const std::map<std::string, std::uint32_t> numbers = {
      {"f32", 0},   {"f16", 1},     {"q4_0", 2},    {"q4_1", 3},    {"q8_0", 7},  {"q4_k_s", 14},
      {"q4_k", 14}, {"q4_k_m", 15}, {"q5_k_s", 16}, {"q5_k_m", 17}, {"q6_k", 18}, {"bf16", 32}};
  for (const auto& [type, number] : numbers) EXPECT_EQ(Recipe(type).text_file_type(), number) << type;
  EXPECT_EQ(Recipe("int4").vision_file_type(), 7u);
  EXPECT_EQ(Recipe("int4").text_label(), "Q4_0");
  EXPECT_EQ(Recipe("q4_k_m").text_label(), "Q4_K_M");
  EXPECT_EQ(Recipe("fp16").vision_label(), "F16");
}

// F11
TEST(Recipe, RefusesTypesThatCannotBeWritten) {
  EXPECT_TESSERA_ERROR(Recipe("q3_k"), kUsage, "unknown (got \"q3_k\", expected one of f32, f16, bf16, q8_0");
  EXPECT_TESSERA_ERROR(Recipe(""), kUsage, "unknown");
  EXPECT_TESSERA_ERROR(Recipe("Q4_0"), kUsage, "unknown");
  EXPECT_TESSERA_ERROR(Recipe("q6_k_m"), kUsage, "unknown");
  EXPECT_TESSERA_ERROR(Recipe("q4_0", "wat"), kUsage, "unknown (got \"wat\"");
  EXPECT_TESSERA_ERROR(Recipe("q4_0", "q4_k_m"), kUsage, "mix for text models (expected q4_k)");
  EXPECT_TESSERA_ERROR(Recipe("q5_0"), kUnsupported, "q5_0 is only read");
  EXPECT_TESSERA_ERROR(Recipe("q4_0", "q5_1"), kUnsupported, "q5_1 is only read");
}

}  // namespace
}  // namespace tessera::qwen3vl
