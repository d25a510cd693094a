#include "models/qwen3vl/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "models/qwen3vl/weights.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/qwen3vl/golden_case.h"

namespace tessera::testing {
namespace {

using qwen3vl::Calibrator;
using qwen3vl::Importance;
using qwen3vl::Model;

const std::string kText = "model.language_model.";
const std::string kVision = "model.visual.";

// A conversation that the reference computed, and what must come out for it.
struct Conversation {
  explicit Conversation(const std::string& name) : golden{"shapes-vl", name} {
    json = golden.json();
    tensors = golden.tensors();
    ids = json.at("prompt_token_ids").get<std::vector<std::int32_t>>();
    for (const Image& image : golden.images(json))
      pictures.push_back(preprocess_image(image, model()->preprocess()));
  }
  static std::shared_ptr<const Model> model() {
    static const auto loaded = Model::load(GoldenCase{"shapes-vl", "one"}.model_folder(), {.threads = 2});
    return loaded;
  }
  std::vector<float> tensor(const std::string& name) const { return floats(*tensors->find(name)); }

  GoldenCase golden;
  nlohmann::json json;
  std::unique_ptr<Checkpoint> tensors;
  std::vector<std::int32_t> ids;
  std::vector<PixelValues> pictures;
};

std::vector<double> as_doubles(const TensorView& view) {
  return {view.as<float>(), view.as<float>() + view.shape.elements()};
}

// Mean squares of the columns of rows [n, K] after RMS norm (no bias) or layer norm, all in double.
std::vector<double> mean_squares(const std::vector<float>& x, const std::vector<double>& weight,
                                 const std::vector<double>& bias = {}) {
  constexpr double kEps = 1e-6;
  const std::size_t k = weight.size(), rows = x.size() / k;
  std::vector<double> sums(k);
  for (std::size_t r = 0; r < rows; ++r) {
    const float* const row = x.data() + r * k;
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < k && !bias.empty(); ++i) mean += row[i] / static_cast<double>(k);
    for (std::size_t i = 0; i < k; ++i)
      variance += (row[i] - mean) * (row[i] - mean) / static_cast<double>(k);
    for (std::size_t i = 0; i < k; ++i) {
      const double y =
          (row[i] - mean) / std::sqrt(variance + kEps) * weight[i] + (bias.empty() ? 0 : bias[i]);
      sums[i] += y * y / static_cast<double>(rows);
    }
  }
  return sums;
}

// Activations agree with the reference to about 1e-6 of the largest in their row, squares to twice that of
// the larger ones.
void expect_columns(const Importance& importance, const std::string& name,
                    const std::vector<double>& expected) {
  const std::vector<float>& got = importance.columns.at(name);
  ASSERT_EQ(got.size(), expected.size()) << name;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], 1e-5 * expected[i]) << name << " column " << i;
  }
}

qwen3vl::SessionOptions options(int threads = 2, std::int64_t chunk = 512) {
  return {.threads = threads, .context = 512, .chunk = chunk, .cache_dtype = DType::kF32};
}

Importance run(const std::vector<const Conversation*>& data, const qwen3vl::SessionOptions& session) {
  Calibrator calibrator(Conversation::model(), session);
  for (const Conversation* c : data) EXPECT_TRUE(calibrator.add(c->ids, c->pictures));
  return calibrator.importance();
}

TEST(CalibrationGolden, TextMatricesSeeTheNormedInputsOfTheirLayers) {
  const Conversation c("text");
  const Importance importance = run({&c}, options());
  const auto& layers = Conversation::model()->weights().text.layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string at = kText + "layers." + std::to_string(i) + ".self_attn.";
    const auto expected =
        mean_squares(c.tensor("text." + std::to_string(i) + ".input"), as_doubles(layers[i].input_layernorm));
    for (const char* name : {"q_proj.weight", "k_proj.weight", "v_proj.weight"}) {
      expect_columns(importance, at + name, expected);
      EXPECT_EQ(importance.rows.at(at + name), static_cast<std::int64_t>(c.ids.size()));
    }
  }
}

// shapes-vl ties its head to the embedding: every row enters it.
TEST(CalibrationGolden, TiedHeadStandsUnderTheNameOfTheEmbedding) {
  const Conversation c("text");
  const Importance importance = run({&c}, options());
  const std::string name = kText + "embed_tokens.weight";
  expect_columns(
      importance, name,
      mean_squares(c.tensor("text.norm.input"), as_doubles(Conversation::model()->weights().text.norm)));
  EXPECT_EQ(importance.rows.at(name), static_cast<std::int64_t>(c.ids.size()));
  EXPECT_FALSE(importance.columns.contains("lm_head.weight"));
}

TEST(CalibrationGolden, VisionMatricesSeeThePicture) {
  const Conversation c("one");
  const Importance importance = run({&c}, options());
  const auto& vision = Conversation::model()->weights().vision;
  for (std::size_t i = 0; i < vision.blocks.size(); ++i) {
    // vision.0.input is after the position table, vision.I.input of a later block the output of the one
    // before.
    const std::string input = i == 0 ? "vision.0.input" : "vision." + std::to_string(i - 1) + ".output";
    expect_columns(importance, kVision + "blocks." + std::to_string(i) + ".attn.qkv.weight",
                   mean_squares(c.tensor(input), as_doubles(vision.blocks[i].norm1_weight),
                                as_doubles(vision.blocks[i].norm1_bias)));
  }
  const std::int64_t patches = c.pictures[0].grid.patches();
  EXPECT_EQ(importance.rows.at(kVision + "blocks.0.mlp.linear_fc2.weight"), patches);
  EXPECT_EQ(importance.rows.at(kVision + "merger.linear_fc1.weight"), patches / 4);
  EXPECT_EQ(importance.rows.at(kVision + "deepstack_merger_list.2.linear_fc2.weight"), patches / 4);
}

// What enters it is the picture itself.
TEST(CalibrationGolden, PatchEmbeddingSeesThePixels) {
  const Conversation c("one");
  const std::vector<float> pixels = c.tensor("pixel_values");
  constexpr std::size_t kColumns = 1536;
  std::vector<double> expected(kColumns);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    expected[i % kColumns] += double{pixels[i]} * pixels[i] / static_cast<double>(pixels.size() / kColumns);
  expect_columns(run({&c}, options()), kVision + "patch_embed.proj.weight", expected);
}

TEST(CalibrationGolden, PictureRowsEnterTheTextMatricesToo) {
  const Conversation c("one");
  const Importance importance = run({&c}, options());
  const std::string name = kText + "layers.1.self_attn.q_proj.weight";
  expect_columns(importance, name,
                 mean_squares(c.tensor("text.1.input"),
                              as_doubles(Conversation::model()->weights().text.layers[1].input_layernorm)));
  EXPECT_EQ(importance.rows.at(name), static_cast<std::int64_t>(c.ids.size()));
}

TEST(Calibration, HeadCountsTheRowsAfterTheLastPicture) {
  const Conversation c("one");
  const Importance importance = run({&c}, options());
  const std::int32_t image = Conversation::model()->config().image_token_id;
  const auto behind = std::find(c.ids.rbegin(), c.ids.rend(), image) - c.ids.rbegin();
  EXPECT_EQ(importance.rows.at(kText + "embed_tokens.weight"), behind);
}

TEST(Calibration, CoversEveryMatrixThatDataReaches) {
  const Conversation text("text"), picture("one");
  std::set<std::string> all, of_text;
  for (const auto& [name, view] : Conversation::model()->weights().matrices) {
    all.insert(name);
    if (name.starts_with(kText)) of_text.insert(name);
  }
  auto names = [](const Importance& importance) {
    std::set<std::string> set;
    for (const auto& [name, columns] : importance.columns) set.insert(name);
    return set;
  };
  EXPECT_EQ(names(run({&picture}, options())), all);
  EXPECT_EQ(names(run({&text}, options())), of_text);
  EXPECT_TRUE(run({}, options()).columns.empty());
}

TEST(Calibration, IsTheMeanOverAllConversations) {
  const Conversation text("text"), picture("one");
  const Importance both = run({&text, &picture}, options());
  const Importance a = run({&text}, options()), b = run({&picture}, options());
  const std::string name = kText + "layers.0.mlp.down_proj.weight";
  const auto rows_a = static_cast<double>(a.rows.at(name)), rows_b = static_cast<double>(b.rows.at(name));
  EXPECT_EQ(static_cast<double>(both.rows.at(name)), rows_a + rows_b);
  for (std::size_t i = 0; i < both.columns.at(name).size(); ++i) {
    const double expected =
        (rows_a * a.columns.at(name)[i] + rows_b * b.columns.at(name)[i]) / (rows_a + rows_b);
    EXPECT_NEAR(both.columns.at(name)[i], expected, 1e-6 * expected);
  }
}

TEST(Calibration, HasTheSameBitsForAnyThreadCountAndChunk) {
  const Conversation text("text"), picture("one");
  const Importance expected = run({&picture, &text}, options(1));
  for (const int threads : {2, 3}) {
    for (const std::int64_t chunk :
         {std::int64_t{1}, std::int64_t{7}, std::numeric_limits<std::int64_t>::max()}) {
      const Importance got = run({&picture, &text}, options(threads, chunk));
      EXPECT_TRUE(got.columns == expected.columns) << threads << " threads, chunk " << chunk;
      EXPECT_TRUE(got.rows == expected.rows);
    }
  }
}

// A checkpoint with a head of its own, and old spellings of names.
TEST(Calibration, RefusesAModelInBlocks) {
  const auto model = Model::load(GoldenCase{"shapes-vl", "one"}.model_folder(),
                                 {.threads = 2, .recipe = qwen3vl::Recipe("bf16", "q8_0")});
  EXPECT_TESSERA_ERROR(Calibrator(model, {.threads = 2, .context = 512}), kUnsupported, "model.visual.",
                       "float model", "got q8_0", "expected f32, f16 or bf16");
}

TEST(Calibration, UsesCanonicalNamesAndTheHeadOfAnUntiedModel) {
  TESSERA_REQUIRE_SHARED("checkpoints/untied");
  const auto model = Model::load(shared_golden("checkpoints/untied"), {.threads = 2});
  Calibrator calibrator(model, options());
  ASSERT_TRUE(calibrator.add(std::vector<std::int32_t>{1, 2, 3, 4}, {}));
  const Importance importance = calibrator.importance();
  EXPECT_EQ(importance.rows.at("lm_head.weight"), 4);
  EXPECT_FALSE(importance.columns.contains(kText + "embed_tokens.weight"));
  EXPECT_EQ(importance.rows.at(kText + "layers.0.mlp.up_proj.weight"), 4);
}

TEST(Calibration, RefusesWhatTheSessionRefuses) {
  const Conversation text("text"), picture("one");
  Calibrator calibrator(Conversation::model(), options());
  EXPECT_TESSERA_ERROR(calibrator.add({}, {}), kInput, "prompt", "empty");
  EXPECT_TESSERA_ERROR(calibrator.add(picture.ids, {}), kInput, "placeholders do not match");
  EXPECT_TESSERA_ERROR(calibrator.add(text.ids, picture.pictures), kInput, "placeholders do not match");
  const std::vector<std::int32_t> long_text(513, 1);
  EXPECT_TESSERA_ERROR(calibrator.add(long_text, {}), kInput, "does not fit the context");
}

TEST(Calibration, StopsWhenCancelled) {
  const Conversation picture("one");
  Calibrator calibrator(Conversation::model(), options());
  const std::atomic<bool> cancel{true};
  EXPECT_FALSE(calibrator.add(picture.ids, picture.pictures, &cancel));
  EXPECT_FALSE(calibrator.add(std::vector<std::int32_t>{1, 2}, {}, &cancel));
}

}  // namespace
}  // namespace tessera::testing
