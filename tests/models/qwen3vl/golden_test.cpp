// Every number on the way from a picture and a question to an answer, against Hugging Face transformers.
#include <algorithm>
#include <cmath>

#include "tests/models/qwen3vl/golden_case.h"

namespace tessera::testing {
namespace {

using qwen3vl::Model;
using qwen3vl::PictureFeatures;
using qwen3vl::Session;

// Each checkpoint is loaded once.
std::shared_ptr<const Model> load(const GoldenCase& golden_case) {
  static std::map<std::pair<std::string, Stored>, std::shared_ptr<const Model>> models;
  auto& model = models[{golden_case.checkpoint, golden_case.stored}];
  if (model) return model;
  const std::string folder = golden_case.model_folder();
  model = Model::load(folder, {.threads = 2});
  if (golden_case.stored == Stored::kAsF32) {
    model = Model::from_checkpoint(widened(*open_checkpoint(folder)), model->config(), {.threads = 2});
  }
  return model;
}

Session f32_session(const std::shared_ptr<const Model>& model, int threads = 2, std::int64_t chunk = 512,
                    const Cpu& cpu = Cpu::from_environment()) {
  return Session(
      model, {.threads = threads, .context = 1000, .chunk = chunk, .cache_dtype = DType::kF32, .cpu = cpu});
}

std::vector<PictureFeatures> encode(Session& session, const PreprocessConfig& preprocess,
                                    const std::vector<Image>& images, const RunOptions& run = {}) {
  std::vector<PictureFeatures> pictures;
  for (const Image& image : images)
    pictures.push_back(*session.encode(preprocess_image(image, preprocess), run));
  return pictures;
}

class Golden : public ::testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    if (!GetParam().exists()) GTEST_SKIP() << "needs " << shared_golden("cases");
    model_ = load(GetParam());
    preprocess_ = qwen3vl::preprocess_config_from_folder(GetParam().model_folder(), model_->config().vision);
    json_ = GetParam().json();
    tensors_ = GetParam().tensors();
    images_ = GetParam().images(json_);
    ids_ = json_.at("prompt_token_ids").get<std::vector<std::int32_t>>();
  }
  std::vector<float> tensor(const std::string& name) const { return floats(*tensors_->find(name)); }
  std::int64_t width() const { return model_->config().text.hidden_size; }
  template <typename Compare>
  void compare_features(const std::vector<PictureFeatures>& pictures, Compare compare) const;

  std::shared_ptr<const Model> model_;
  PreprocessConfig preprocess_;
  nlohmann::json json_;
  std::unique_ptr<Checkpoint> tensors_;
  std::vector<Image> images_;
  std::vector<std::int32_t> ids_;
};

// Calls compare(values, expected, name, DeepStack's level or -1) for all features of the pictures.
template <typename Compare>
void Golden::compare_features(const std::vector<PictureFeatures>& pictures, Compare compare) const {
  const auto grids = json_.value("image_grid_thw", nlohmann::json::array());
  ASSERT_EQ(pictures.size(), grids.size());
  std::int64_t row = 0;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const Grid& grid = pictures[i].grid();
    EXPECT_EQ((std::vector<int>{grid.t, grid.h, grid.w}), grids[i].get<std::vector<int>>());
    const auto levels = static_cast<int>(model_->config().vision.deepstack_visual_indexes.size());
    for (int level = -1; level < levels; ++level) {
      const std::string name = level < 0 ? "vision.merger" : "vision.deepstack." + std::to_string(level);
      const std::vector<float> all = tensor(name);
      const auto begin = all.begin() + row * width(), end = begin + pictures[i].tokens() * width();
      compare(pictures[i].level(1 + level), std::vector<float>(begin, end), name, level);
    }
    row += pictures[i].tokens();
  }
  if (!images_.empty()) {
    EXPECT_EQ(row * width(), tensors_->find("vision.merger")->shape.elements());
  }
}

TEST_P(Golden, PicturesGiveTheReferencesFeatures) {
  Session session = f32_session(model_);
  compare_features(encode(session, preprocess_, images_),
                   [](const float* got, const std::vector<float>& expected, const std::string& name, int) {
                     expect_golden(got, expected, name);
                   });
}

TEST_P(Golden, RoundingToBf16StaysWithinItsBounds) {
  if (!natural_cpu().has(IsaLevel::kAvx512Bf16)) GTEST_SKIP() << "no level of this CPU rounds to bf16";
  const qwen3vl::VisionConfig& vision = model_->config().vision;
  // A product of several rows rounds them where its weight is bf16, and the weight, too, where that is f16;
  // an attention of the tower rounds q, k, v and weights.
  const DType stored = open_checkpoint(GetParam().model_folder())->entries()[0].view->dtype;
  const int product = GetParam().stored == Stored::kAsF32 ? 0 : stored == DType::kF16 ? 2 : 1;
  const auto tower = [&](std::int64_t blocks) {
    return static_cast<double>(blocks * 4 + product * (1 + blocks * 4 + 2));
  };
  Session session = f32_session(model_, 2, 512, natural_cpu());
  const auto pictures = encode(session, preprocess_, images_);
  compare_features(pictures, [&](const float* got, const std::vector<float>& expected,
                                 const std::string& name, int level) {
    const auto blocks = level < 0 ? vision.depth : vision.deepstack_visual_indexes[level] + 1;
    expect_rounded(got, expected, tower(blocks), name);
  });
  const double roundings = (images_.empty() ? 0 : tower(vision.depth)) +
                           static_cast<double>(product * 4 * model_->config().text.num_hidden_layers);
  const auto logits = session.prefill(ids_, pictures);
  const std::vector<float> expected = tensor("logits");
  const std::vector<float> last(expected.end() - static_cast<std::ptrdiff_t>(logits.size()), expected.end());
  if (roundings > 0) {
    expect_rounded(logits.data(), last, roundings, "logits");
  } else {
    expect_golden(logits.data(), last, "logits");
  }
}

// Vision weights in blocks are multiplied as integers. A product then has two errors: that of the weights
// (mean squares, as shares, of normally distributed ones: README, "Make it small") and that of rounding its
// other operand to 127 steps of the largest in a group of 32, of normally distributed ones 2.2e-5. Mean
// squares of the patch embedding, of four products a block and of the merger's two add up.
TEST_P(Golden, AQuantizedTowerStaysWithinTheErrorOfItsFormat) {
  if (images_.empty() || GetParam().stored == Stored::kAsF32)
    GTEST_SKIP() << "no matrix of the tower is quantized";
  const qwen3vl::VisionConfig& vision = model_->config().vision;
  constexpr double kActivations = 2.2e-5;
  for (const auto& [type, weights] : {std::pair("q8_0", 2.87e-5), {"q4_0", 7.36e-3}}) {
    const auto quantized =
        Model::load(GetParam().model_folder(), {.threads = 2, .recipe = qwen3vl::Recipe("q8_0", type)});
    Session session = f32_session(quantized, 2, 512, natural_cpu());
    compare_features(encode(session, preprocess_, images_), [&](const float* got,
                                                                const std::vector<float>& expected,
                                                                const std::string& name, int level) {
      const auto blocks = level < 0 ? vision.depth : vision.deepstack_visual_indexes[level] + 1;
      const auto products = static_cast<double>(1 + 4 * blocks + 2);
      expect_noise_below(std::sqrt(products * (weights + kActivations)), got, expected, name + " in " + type);
    });
  }
}

// The cases that hold every layer.
class GoldenLayers : public Golden {};

TEST_P(GoldenLayers, EveryLayerMatches) {
  Session session = f32_session(model_);
  Recorder vision, text;
  const auto pictures = encode(session, preprocess_, images_, {nullptr, &vision});
  if (!images_.empty()) {
    expect_golden(vision.at("model.visual.patch_embed").data(), tensor("vision.patch_embed"), "patch_embed");
    expect_golden(vision.at("model.visual.pos_embed").data(), tensor("vision.0.input"), "vision.0.input");
    for (std::int64_t i = 0; i < model_->config().vision.depth; ++i) {
      const std::string name = "vision." + std::to_string(i) + ".output";
      expect_golden(vision.at("model.visual.blocks." + std::to_string(i) + ".output").data(), tensor(name),
                    name);
    }
  }
  const auto logits = session.prefill_all(ids_, pictures, {nullptr, &text});
  const std::string layers = "model.language_model.layers.";
  expect_golden(text.at("model.language_model.embed_tokens").data(), tensor("text.0.input"), "text.0.input");
  const std::int64_t depth = model_->config().text.num_hidden_layers;
  for (std::int64_t i = 0; i < depth; ++i) {
    const std::string next = i + 1 < depth ? "text." + std::to_string(i + 1) + ".input" : "text.norm.input";
    expect_golden(text.at(layers + std::to_string(i) + ".output").data(), tensor(next), next);
  }
  ASSERT_EQ(static_cast<std::int64_t>(logits.size()), tensors_->find("logits")->shape.elements());
  expect_golden(logits.data(), tensor("logits"), "logits");
}

TEST_P(Golden, GreedyAnswerAndItsLogProbabilitiesMatch) {
  Session session = f32_session(model_);
  const auto pictures = encode(session, preprocess_, images_);
  std::span<const float> logits = session.prefill(ids_, pictures);
  const std::vector<float> expected = tensor("logits");
  expect_golden(logits.data(), {expected.end() - static_cast<std::ptrdiff_t>(logits.size()), expected.end()},
                "logits");

  const auto tokens = json_.at("token_ids").get<std::vector<std::int32_t>>();
  const auto& logprobs = json_.at("top_logprobs");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto top = top_logprobs(logits, 8);
    for (std::size_t k = 0; k < 8; ++k) {
      EXPECT_NEAR(top[k].logprob, logprobs[i][k].at("logprob").get<double>(), 3e-4)
          << "token " << i << ", place " << k;
    }
    // Where the two best are closer than this the reference itself could go either way.
    const double gap =
        logprobs[i][0].at("logprob").get<double>() - logprobs[i][1].at("logprob").get<double>();
    if (gap < 1e-3) break;
    ASSERT_EQ(top[0].id, tokens[i]) << "token " << i;
    if (i + 1 < tokens.size()) logits = session.decode(tokens[i]);
  }
}

TEST_P(Golden, AnyChunkSizeAndThreadCountGiveTheSameBits) {
  Session whole = f32_session(model_, 1);
  const auto pictures = encode(whole, preprocess_, images_);
  const auto logits = whole.prefill(ids_, pictures);
  const std::vector<float> expected(logits.begin(), logits.end());
  const auto next = whole.decode(ids_[0]);
  const std::vector<float> expected_next(next.begin(), next.end());
  const std::pair<int, std::int64_t> settings[] = {{2, 1}, {3, 2}, {5, 7}, {2, 16}, {1, 33}, {2, 64}};
  for (const auto& [threads, chunk] : settings) {
    SCOPED_TRACE(std::to_string(threads) + " threads, chunks of " + std::to_string(chunk));
    Session session = f32_session(model_, threads, chunk);
    const auto same = encode(session, preprocess_, images_);
    for (std::size_t i = 0; i < same.size(); ++i) {
      ASSERT_EQ(std::memcmp(same[i].level(0), pictures[i].level(0),
                            static_cast<std::size_t>(same[i].tokens() * width()) * sizeof(float)),
                0);
    }
    const auto got = session.prefill(ids_, same);
    ASSERT_EQ(std::memcmp(got.data(), expected.data(), expected.size() * sizeof(float)), 0);
    const auto got_next = session.decode(ids_[0]);
    ASSERT_EQ(std::memcmp(got_next.data(), expected_next.data(), expected_next.size() * sizeof(float)), 0);
  }
}

std::vector<GoldenCase> cases(std::initializer_list<const char*> names) {
  std::vector<GoldenCase> all;
  for (const char* checkpoint : {"dense", "untied", "shapes-vl"}) {
    for (const char* name : names) all.push_back({checkpoint, name});
  }
  // Matrices in f32 take other kernels: OpenBLAS where it is built in.
  for (const char* name : names) all.push_back({"shapes-vl", name, Stored::kAsF32});
  return all;
}

std::string case_name(const ::testing::TestParamInfo<GoldenCase>& test) {
  std::string name = test.param.checkpoint + "_" + test.param.name;
  if (test.param.stored == Stored::kAsF32) name += "_f32";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden,
                         ::testing::ValuesIn(cases({"text", "system", "one", "two", "between", "tall",
                                                    "turned", "turns"})),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Cases, GoldenLayers, ::testing::ValuesIn(cases({"text", "one"})), case_name);

}  // namespace
}  // namespace tessera::testing
