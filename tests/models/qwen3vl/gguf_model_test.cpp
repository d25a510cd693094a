// GGUF pairs made by llama.cpp's converter: the same configuration, vocabulary and answers as the Hugging
// Face folder that they were made of.
#include <cmath>
#include <fstream>

#include "models/qwen3vl/model_files.h"
#include "quant/half.h"
#include "quant/quantize.h"
#include "tests/models/qwen3vl/edit_gguf.h"
#include "tests/models/qwen3vl/golden_case.h"

namespace tessera::testing {
namespace {

using qwen3vl::Model;
using qwen3vl::ModelFiles;
using qwen3vl::open_model_files;
using qwen3vl::Session;

struct Pair {
  std::string checkpoint, text, vision;

  ModelFiles files() const { return open_model_files(shared_gguf(text), shared_gguf(vision)); }
  std::string folder() const {
    return shared_golden(checkpoint == "shapes-vl" ? checkpoint : "checkpoints/" + checkpoint);
  }
  friend void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.text; }
};

std::string pair_name(const ::testing::TestParamInfo<Pair>& test) {
  std::string name = test.param.text.substr(0, test.param.text.find('.'));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

const Pair kDense{"dense", "dense-bf16.gguf", "mmproj-dense-f16.gguf"};
const Pair kShapes{"shapes-vl", "shapes-vl-bf16.gguf", "mmproj-shapes-vl-f16.gguf"};

class FloatPair : public ::testing::TestWithParam<Pair> {
 protected:
  void SetUp() override { TESSERA_REQUIRE_SHARED("gguf/" + GetParam().text); }
};

TEST_P(FloatPair, SaysTheConfigurationOfTheFolder) {
  const ModelFiles gguf = GetParam().files(), folder = open_model_files(GetParam().folder());
  const auto &a = gguf.config.text, &b = folder.config.text;
  EXPECT_EQ(a.vocab_size, b.vocab_size);
  EXPECT_EQ(a.hidden_size, b.hidden_size);
  EXPECT_EQ(a.intermediate_size, b.intermediate_size);
  EXPECT_EQ(a.num_hidden_layers, b.num_hidden_layers);
  EXPECT_EQ(a.num_attention_heads, b.num_attention_heads);
  EXPECT_EQ(a.num_key_value_heads, b.num_key_value_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.max_position_embeddings, b.max_position_embeddings);
  EXPECT_EQ(a.rms_norm_eps, b.rms_norm_eps);
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.mrope_section, b.mrope_section);
  EXPECT_EQ(a.mrope_interleaved, b.mrope_interleaved);
  const auto &v = gguf.config.vision, &w = folder.config.vision;
  EXPECT_EQ(v.depth, w.depth);
  EXPECT_EQ(v.hidden_size, w.hidden_size);
  EXPECT_EQ(v.intermediate_size, w.intermediate_size);
  EXPECT_EQ(v.num_heads, w.num_heads);
  EXPECT_EQ(v.in_channels, w.in_channels);
  EXPECT_EQ(v.patch_size, w.patch_size);
  EXPECT_EQ(v.temporal_patch_size, w.temporal_patch_size);
  EXPECT_EQ(v.spatial_merge_size, w.spatial_merge_size);
  EXPECT_EQ(v.out_hidden_size, w.out_hidden_size);
  EXPECT_EQ(v.num_position_embeddings, w.num_position_embeddings);
  EXPECT_EQ(v.deepstack_visual_indexes, w.deepstack_visual_indexes);
  EXPECT_EQ(gguf.config.tie_word_embeddings, folder.config.tie_word_embeddings);
  EXPECT_EQ(gguf.config.image_token_id, folder.config.image_token_id);
  EXPECT_EQ(gguf.config.video_token_id, folder.config.video_token_id);
  EXPECT_EQ(gguf.config.vision_start_token_id, folder.config.vision_start_token_id);
  EXPECT_EQ(gguf.config.vision_end_token_id, folder.config.vision_end_token_id);
  EXPECT_EQ(gguf.config.eos_token_ids, folder.config.eos_token_ids);
  EXPECT_EQ(gguf.preprocess.mean, folder.preprocess.mean);
  EXPECT_EQ(gguf.preprocess.std, folder.preprocess.std);
  EXPECT_EQ(gguf.preprocess.patch_size, folder.preprocess.patch_size);
  EXPECT_EQ(gguf.preprocess.merge_size, folder.preprocess.merge_size);
  EXPECT_EQ(gguf.preprocess.temporal_patch_size, folder.preprocess.temporal_patch_size);
  // The converter does not write the limits: those of published models (spec §3.1).
  EXPECT_EQ(gguf.preprocess.min_pixels, 65536);
  EXPECT_EQ(gguf.preprocess.max_pixels, 16777216);
  EXPECT_EQ(gguf.chat_template, folder.chat_template);
  EXPECT_TRUE(gguf.warnings.empty());
}

TEST_P(FloatPair, SaysTheGenerationDefaultsOfTheFolder) {
  const GenerationDefaults a = GetParam().files().generation;
  const GenerationDefaults b = open_model_files(GetParam().folder()).generation;
  EXPECT_EQ(a.do_sample, b.do_sample);
  EXPECT_EQ(a.temperature, b.temperature);
  EXPECT_EQ(a.top_k, b.top_k);
  EXPECT_EQ(a.top_p, b.top_p);
  EXPECT_EQ(a.min_p, b.min_p);
  EXPECT_EQ(a.repetition_penalty, b.repetition_penalty);
  EXPECT_EQ(a.eos_token_ids, b.eos_token_ids);
  EXPECT_EQ(a.pad_token_id, b.pad_token_id);
  EXPECT_EQ(a.bos_token_id, b.bos_token_id);
}

TEST_P(FloatPair, TokenizesAsTheFolder) {
  const Tokenizer gguf(GetParam().files().tokenizer);
  const Tokenizer folder = Tokenizer::from_folder(GetParam().folder());
  EXPECT_EQ(gguf.vocab_size(), folder.vocab_size());
  std::ifstream lines(shared_golden("tokenizer/qwen/cases.jsonl"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto text = nlohmann::json::parse(line).at("text").get<std::string>();
    for (const SpecialTokens special : {SpecialTokens::kParse, SpecialTokens::kAsText}) {
      const auto ids = folder.encode(text, special);
      ASSERT_EQ(gguf.encode(text, special), ids) << text;
      ASSERT_EQ(gguf.decode(ids, SkipSpecial::kNo), folder.decode(ids, SkipSpecial::kNo));
    }
  }
  EXPECT_EQ(count, 722);
  for (std::int32_t id = 0; id < folder.vocab_size(); ++id) {
    ASSERT_EQ(gguf.token_text(id), folder.token_text(id)) << id;
    // The converter makes control tokens of all that look like <|…|>.
    if (folder.is_special(id)) {
      EXPECT_TRUE(gguf.is_special(id)) << id;
    }
  }
}

// f32 and bf16 tensors lie in the text file bit by bit as in the folder; the converter has rounded the vision
// tower's matrices to f16.
TEST_P(FloatPair, HoldsTheTensorsOfTheFolder) {
  const auto gguf = GetParam().files().checkpoint;
  const auto folder = open_model_files(GetParam().folder()).checkpoint;
  ASSERT_EQ(gguf->entries().size(), folder->entries().size());
  for (const Checkpoint::Entry& entry : folder->entries()) {
    SCOPED_TRACE(entry.name);
    const TensorView* const view = gguf->find(entry.name);
    ASSERT_NE(view, nullptr);
    ASSERT_EQ(view->shape, entry.shape);
    const auto n = static_cast<std::size_t>(entry.shape.elements());
    std::vector<float> a(n), b(n);
    const auto decode = [&](const TensorView& from, float* to) {
      quant::find_format(from.dtype)
          ->decode_row(reinterpret_cast<const std::uint8_t*>(from.data), entry.shape.elements(), to);
    };
    decode(*view, a.data());
    decode(*entry.view, b.data());
    for (std::size_t i = 0; i < n; ++i) {
      const float expected = view->dtype == DType::kF16 ? quant::f16_to_f32(quant::f32_to_f16(b[i])) : b[i];
      ASSERT_EQ(a[i], expected) << i;
    }
  }
}

// Loading gives pages of files back to the system; memory that is no file would be lost.
TEST_P(FloatPair, LoadingLeavesTheTensorsAsTheyAre) {
  const ModelFiles files = GetParam().files();
  const auto bytes = [&] {
    std::string all;
    for (const Checkpoint::Entry& entry : files.checkpoint->entries()) {
      all.append(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
    }
    return all;
  };
  const std::string before = bytes();
  Model::load(files, {.threads = 1});
  EXPECT_TRUE(bytes() == before);
}

INSTANTIATE_TEST_SUITE_P(Gguf, FloatPair, ::testing::Values(kDense, kShapes), pair_name);

Session f32_session(const std::shared_ptr<const Model>& model) {
  return Session(model, {.threads = 2, .context = 1000, .cache_dtype = DType::kF32});
}

std::shared_ptr<const Model> load(const std::string& path, const std::string& mmproj = "") {
  static std::map<std::string, std::shared_ptr<const Model>> models;
  auto& model = models[path];
  if (!model) model = Model::load(open_model_files(path, mmproj), {.threads = 2});
  return model;
}

struct PairCase {
  Pair pair;
  std::string name;
  friend void PrintTo(const PairCase& c, std::ostream* out) { *out << c.pair.text << "/" << c.name; }
};

class FloatPairCase : public ::testing::TestWithParam<PairCase> {
 protected:
  void SetUp() override {
    const auto& [pair, name] = GetParam();
    TESSERA_REQUIRE_SHARED("gguf/" + pair.text);
    const GoldenCase golden{pair.checkpoint, name};
    json_ = golden.json();
    images_ = golden.images(json_);
    ids_ = json_.at("prompt_token_ids").get<std::vector<std::int32_t>>();
    gguf_ = load(shared_gguf(pair.text), shared_gguf(pair.vision));
    folder_ = load(pair.folder());
  }

  // With the limits of the folder: the files lack them.
  std::vector<qwen3vl::PictureFeatures> encode(Session& session) const {
    std::vector<qwen3vl::PictureFeatures> pictures;
    for (const Image& image : images_) {
      pictures.push_back(*session.encode(preprocess_image(image, folder_->preprocess())));
    }
    return pictures;
  }

  nlohmann::json json_;
  std::vector<Image> images_;
  std::vector<std::int32_t> ids_;
  std::shared_ptr<const Model> gguf_, folder_;
};

// Both models given the folder's pictures: what differs would be the text part, and nothing may.
TEST_P(FloatPairCase, LogitsAreThoseOfTheFolderBitByBit) {
  Session a = f32_session(gguf_), b = f32_session(folder_);
  const auto pictures = encode(b);
  const auto expected = b.prefill_all(ids_, pictures);
  const auto got = a.prefill_all(ids_, pictures);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
}

TEST_P(FloatPairCase, GreedyAnswersAreTheReferences) {
  Session session = f32_session(gguf_);
  std::span<const float> logits = session.prefill(ids_, encode(session));
  const auto tokens = json_.at("token_ids").get<std::vector<std::int32_t>>();
  const auto& reference = json_.at("top_logprobs");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    // f16 holds the bf16 weights of the vision tower exactly, but for those below 2^-14 in magnitude, which
    // are rounded by at most 2^-25: far below what a bound on float sums allows.
    for (const auto& best : top_logprobs(logits, 1)) {
      EXPECT_NEAR(best.logprob, reference[i][0].at("logprob").get<double>(), 1e-3) << "token " << i;
      const double gap =
          reference[i][0].at("logprob").get<double>() - reference[i][1].at("logprob").get<double>();
      if (gap < 1e-3) return;
      ASSERT_EQ(best.id, tokens[i]) << "token " << i;
    }
    if (i + 1 < tokens.size()) logits = session.decode(tokens[i]);
  }
}

std::vector<PairCase> pair_cases() {
  std::vector<PairCase> all;
  for (const Pair& pair : {kDense, kShapes}) {
    for (const char* name : {"text", "one", "two", "turns"}) all.push_back({pair, name});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Gguf, FloatPairCase, ::testing::ValuesIn(pair_cases()), [](const auto& test) {
  return pair_name({test.param.pair, 0}) + "_" + test.param.name;
});

// Mean over the rows of sum_v p (log p - log q), natural log, p the softmax of `a`, q that of `b`.
double mean_divergence(std::span<const float> a, std::span<const float> b, std::int64_t vocabulary) {
  const auto width = static_cast<std::size_t>(vocabulary);
  const auto log_sum = [](std::span<const float> x) {
    const double most = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const float v : x) sum += std::exp(v - most);
    return most + std::log(sum);
  };
  double total = 0;
  for (std::size_t row = 0; row < a.size(); row += width) {
    const auto x = a.subspan(row, width), y = b.subspan(row, width);
    const double of_x = log_sum(x), of_y = log_sum(y);
    for (std::size_t i = 0; i < width; ++i) total += std::exp(x[i] - of_x) * (x[i] - of_x - y[i] + of_y);
  }
  return total * static_cast<double>(width) / static_cast<double>(a.size());
}

struct Quantized {
  const char* file;
  double bound;  // of the divergence: two to four times what the file showed when the test was written
  friend void PrintTo(const Quantized& q, std::ostream* out) { *out << q.file; }
};

class QuantizedPair : public ::testing::TestWithParam<Quantized> {};

TEST_P(QuantizedPair, AnswersNearlyAsTheFloatModel) {
  const std::string file = GetParam().file;
  TESSERA_REQUIRE_SHARED("gguf/" + file);
  const auto quantized = load(shared_gguf(file), shared_gguf(kShapes.vision));
  const auto whole = load(shared_gguf(kShapes.text), shared_gguf(kShapes.vision));
  EXPECT_TRUE(quantized->warnings().empty());
  EXPECT_LT(quantized->weight_bytes(), whole->weight_bytes());
  const PreprocessConfig preprocess = open_model_files(kShapes.folder()).preprocess;
  for (const char* name : {"text", "one", "turns"}) {
    SCOPED_TRACE(name);
    const GoldenCase golden{"shapes-vl", name};
    const nlohmann::json json = golden.json();
    // The prompt and the answer: prompts alone are mostly forced.
    auto ids = json.at("prompt_token_ids").get<std::vector<std::int32_t>>();
    for (const auto& id : json.at("token_ids")) ids.push_back(id.get<std::int32_t>());
    const auto logits = [&](const std::shared_ptr<const Model>& model) {
      Session session = f32_session(model);
      std::vector<qwen3vl::PictureFeatures> pictures;
      for (const Image& image : golden.images(json)) {
        pictures.push_back(*session.encode(preprocess_image(image, preprocess)));
      }
      const auto values = session.prefill_all(ids, pictures);
      return std::vector<float>(values.begin(), values.end());
    };
    const std::vector<float> a = logits(whole), b = logits(quantized);
    for (const float v : b) ASSERT_TRUE(std::isfinite(v));
    const double divergence = mean_divergence(a, b, whole->config().text.vocab_size);
    EXPECT_GT(divergence, 0);
    EXPECT_LE(divergence, GetParam().bound);
  }
}

// Equal bytes give equal tokens: those that the same format made here by the reference encoder gives.
TEST_P(QuantizedPair, HoldsTheBytesOfTheReferenceEncoder) {
  const std::string file = GetParam().file;
  TESSERA_REQUIRE_SHARED("gguf/" + file);
  const auto files = open_model_files(shared_gguf(file), shared_gguf(kShapes.vision));
  const auto folder = open_model_files(kShapes.folder());
  int blocks = 0;
  for (const Checkpoint::Entry& entry : files.checkpoint->entries()) {
    if (info(entry.view->dtype).block_elems == 1) continue;
    SCOPED_TRACE(entry.name);
    const TensorView& source = *folder.checkpoint->find(entry.name);
    std::vector<std::uint8_t> bytes(entry.bytes.size());
    quant::quantize_rows({.from = source.dtype,
                          .to = entry.view->dtype,
                          .rows = source.shape[0],
                          .columns = source.shape[1],
                          .encoder = quant::Encoder::kReference},
                         source.as<std::uint8_t>(), bytes.data());
    EXPECT_EQ(std::memcmp(bytes.data(), entry.bytes.data(), bytes.size()), 0);
    ++blocks;
  }
  EXPECT_EQ(blocks, 4 * 7 + 1);  // matrices of four layers, and the table
}

INSTANTIATE_TEST_SUITE_P(Gguf, QuantizedPair,
                         ::testing::Values(Quantized{"shapes-vl-q8_0.gguf", 6e-4},
                                           Quantized{"shapes-vl-q4_0.gguf", 0.02},
                                           Quantized{"shapes-vl-q4_k_m.gguf", 0.02}),
                         [](const auto& test) {
                           return pair_name({{"", test.param.file, ""}, 0});
                         });

}  // namespace
}  // namespace tessera::testing
