#include "examples/tessera_eval/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "models/files/checkpoint.h"
#include "tests/golden.h"
#include "tests/models/files/expect_error.h"

namespace tessera::programs {
namespace {

const std::string kCases = TESSERA_GOLDEN_DIR "/cases/shapes-vl/";
constexpr RunSettings kSettings{.threads = 2, .cache_dtype = DType::kF32};

ModelPointer model() {
  static const auto loaded =
      qwen3vl::Model::load(TESSERA_GOLDEN_DIR "/../../examples/data/shapes-vl", {.threads = 2});
  return loaded;
}

std::vector<std::int32_t> prompt_ids(const std::string& name) {
  std::ifstream file(kCases + name + ".json");
  return nlohmann::json::parse(file).at("prompt_token_ids").get<std::vector<std::int32_t>>();
}

// The mean of -ln p(next token) after rows [first, n - 2] of the reference's logits [n, V].
double golden_loss(const std::string& name, std::size_t first) {
  const auto ids = prompt_ids(name);
  const auto tensors = open_checkpoint(kCases + name + ".safetensors");
  const TensorView logits = *tensors->find("logits");
  const auto width = static_cast<std::size_t>(logits.shape[1]);
  double loss = 0;
  for (std::size_t row = first; row + 1 < ids.size(); ++row) {
    std::vector<float> values(width);
    std::memcpy(values.data(), logits.data + row * width * sizeof(float), width * sizeof(float));
    double sum = 0;
    for (const float x : values) sum += std::exp(double{x});
    loss += std::log(sum) - values[static_cast<std::size_t>(ids[row + 1])];
  }
  return loss / static_cast<double>(ids.size() - 1 - first);
}

TEST(Evaluate, WindowsAreThoseOfLlamaCpp) {
  std::vector<std::int32_t> ids(1030);
  std::iota(ids.begin(), ids.end(), 0);
  const auto windows = text_windows(ids, 512);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[1].ids.front(), 512);
  EXPECT_EQ(windows[1].ids.size(), 512u);
  EXPECT_EQ(windows[1].first, 256u);
  const auto exact = text_windows(std::span(ids).first(512), 512);
  ASSERT_EQ(exact.size(), 1u);
  EXPECT_EQ(exact[0].first, 256u);
  const auto short_text = text_windows(std::span(ids).first(511), 512);
  ASSERT_EQ(short_text.size(), 1u);
  EXPECT_EQ(short_text[0].ids.size(), 511u);
  EXPECT_EQ(short_text[0].first, 0u);
}

// The reference's logits of a whole prompt are exact probabilities of its tokens.
TEST(Evaluate, PerplexityIsThatOfTheReference) {
  const auto ids = prompt_ids("text");
  for (const std::size_t first : {std::size_t{0}, std::size_t{7}}) {
    const TextWindow window{ids, first};
    const PerplexityResult result = measure_perplexity(model(), {&window, 1}, kSettings);
    // Logits agree to 2e-4 (golden README), so a loss does to twice that.
    EXPECT_NEAR(std::log(result.value), golden_loss("text", first), 4e-4);
    EXPECT_EQ(result.scored, ids.size() - 1 - first);
    EXPECT_EQ(result.tokens, ids.size());
  }
}

TEST(Evaluate, PerplexityTakesManyWindowsAndPieces) {
  const auto ids = prompt_ids("text");
  std::vector<std::int32_t> twelve;
  for (int i = 0; i < 12; ++i) twelve.insert(twelve.end(), ids.begin(), ids.end());
  // Equal windows have equal losses: the mean stays, whatever their number.
  const auto windows = text_windows(twelve, ids.size());
  ASSERT_EQ(windows.size(), 12u);
  const PerplexityResult result = measure_perplexity(model(), windows, kSettings);
  EXPECT_NEAR(std::log(result.value), golden_loss("text", ids.size() / 2), 4e-4);
  // One long window is computed in pieces of 64 rows; every token but the first is scored once.
  const TextWindow whole{twelve, 0};
  EXPECT_EQ(measure_perplexity(model(), {&whole, 1}, kSettings).scored, twelve.size() - 1);
}

TEST(Evaluate, DivergenceFromItselfIsNothing) {
  const auto ids = prompt_ids("text");
  const TextWindow window{ids, 0};
  const Divergence d = text_divergence({model(), model()}, {&window, 1}, kSettings);
  EXPECT_EQ(d.positions, ids.size() - 1);
  EXPECT_EQ(d.max, 0);
  EXPECT_EQ(d.top1_agreement, 1);
}

TEST(Evaluate, DivergenceOnAnswersScoresEveryTokenOfThem) {
  Example example;
  example.images = {TESSERA_GOLDEN_DIR "/../../examples/data/circle.png"};
  example.prompt = "How many circles are there?";
  example.answer = "1";
  const Divergence d = answer_divergence({model(), model()}, {&example, 1}, "x.jsonl", kSettings);
  EXPECT_EQ(d.positions, answer_tokens(model()->tokenizer(), "1").size());
  EXPECT_EQ(d.max, 0);
}

TEST(Evaluate, AnswersAreThoseOfTheReference) {
  std::ifstream file(kCases + "text.json");
  const auto json = nlohmann::json::parse(file);
  Example example;
  const auto& content = json["messages"][0]["content"];
  example.prompt = content.is_string() ? content.get<std::string>() : content[0]["text"].get<std::string>();
  const auto answers = answer_questions(model(), {&example, 1}, "x.jsonl", 24, kSettings);
  ASSERT_EQ(answers.texts.size(), 1u);
  EXPECT_EQ(answers.texts[0], json["text"].get<std::string>());
  EXPECT_EQ(
      model()->tokenizer().encode(answer_questions(model(), {&example, 1}, "x.jsonl", 1, kSettings).texts[0],
                                  SpecialTokens::kAsText),
      (std::vector<std::int32_t>{json["token_ids"][0].get<std::int32_t>()}));
}

TEST(Evaluate, ErrorsNameTheLineOfTheQuestion) {
  Example example;
  for (int i = 0; i < 9000; ++i) example.prompt.append(" ").append(std::to_string(i));
  example.answer = "a";
  example.line = 7;
  EXPECT_TESSERA_ERROR(answer_questions(model(), {&example, 1}, "x.jsonl", 1, kSettings), kInput, "x.jsonl",
                       "line 7", "does not fit");
  EXPECT_TESSERA_ERROR(answer_divergence({model(), model()}, {&example, 1}, "x.jsonl", kSettings), kInput,
                       "x.jsonl", "line 7");
}

}  // namespace
}  // namespace tessera::programs
