#include "models/text/sampler.h"

#include <cmath>
#include <limits>
#include <set>

#include "tests/models/files/expect_error.h"
#include "tests/models/text/golden_text.h"

namespace tessera {
namespace {

using testing::golden;
using testing::shared_golden;

constexpr float kInf = std::numeric_limits<float>::infinity();

// Logits whose softmax is these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> out;
  for (const double p : probabilities) out.push_back(static_cast<float>(std::log(p)) + 3.0f);
  return out;
}

std::vector<int> counts(const SamplerOptions& options, const std::vector<float>& logits, int draws) {
  Sampler sampler(options);
  std::vector<int> out(logits.size(), 0);
  for (int i = 0; i < draws; ++i) ++out[static_cast<std::size_t>(sampler.sample(logits))];
  return out;
}

// Ids that are ever drawn. Every probability in these tests is 2 % or more, so 2000 draws meet them all.
std::set<int> support(const SamplerOptions& options, const std::vector<float>& logits) {
  std::set<int> out;
  const auto drawn = counts(options, logits, 2000);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    if (drawn[i] > 0) out.insert(static_cast<int>(i));
  }
  return out;
}

// Pearson's statistic of 20000 draws against the expected distribution.
double chi_square(const SamplerOptions& options, const std::vector<float>& logits,
                  const std::vector<double>& p) {
  constexpr int kDraws = 20000;
  const auto drawn = counts(options, logits, kDraws);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) {
      EXPECT_EQ(drawn[i], 0) << i;
    } else {
      sum += (drawn[i] - kDraws * p[i]) * (drawn[i] - kDraws * p[i]) / (kDraws * p[i]);
    }
  }
  return sum;
}

// The 99.9 % quantile of chi-square with 4 degrees of freedom.
constexpr double kBound = 18.47;

// Published values of xoshiro256** seeded with SplitMix64(0) (the tests of .NET, Zig and others).
TEST(Rng, GivesThePublishedNumbers) {
  Rng rng(0);
  EXPECT_EQ(rng.next(), 0x99EC5F36CB75F2B4u);
  EXPECT_EQ(rng.next(), 0xBF6E1F784956452Au);
  EXPECT_EQ(rng.next(), 0x1A5F849D4933E6E0u);
  EXPECT_EQ(rng.next(), 0x6AA594F1262D2D2Cu);
  EXPECT_DOUBLE_EQ(Rng(0).uniform(), 0x99EC5F36CB75F2B4p-64);
}

TEST(Sampler, DrawsFromTheDistribution) {
  const std::vector<double> p = {0.4, 0.05, 0.3, 0.2, 0.05};
  EXPECT_LT(chi_square({.seed = 1}, logits_of(p), p), kBound);
}

TEST(Sampler, TemperatureRaisesProbabilitiesToItsInverse) {
  // p^2 normalized, for temperature 0.5.
  const std::vector<double> squared = {16 / 29.5, 0.25 / 29.5, 9 / 29.5, 4 / 29.5, 0.25 / 29.5};
  EXPECT_LT(chi_square({.temperature = 0.5f, .seed = 2}, logits_of({0.4, 0.05, 0.3, 0.2, 0.05}), squared),
            kBound);
}

TEST(Sampler, FiltersThenDrawsFromWhatIsLeft) {
  const std::vector<double> kept = {4 / 9., 0, 3 / 9., 2 / 9., 0};
  EXPECT_LT(chi_square({.top_p = 0.85f, .seed = 3}, logits_of({0.4, 0.05, 0.3, 0.2, 0.05}), kept), kBound);
}

TEST(Sampler, FiltersKeepExactSets) {
  const auto logits = logits_of({0.1, 0.35, 0.05, 0.3, 0.2});
  EXPECT_EQ(support({}, logits), (std::set{0, 1, 2, 3, 4}));
  EXPECT_EQ(support({.top_k = 1}, logits), (std::set{1}));
  EXPECT_EQ(support({.top_k = 3}, logits), (std::set{1, 3, 4}));
  EXPECT_EQ(support({.top_k = 99}, logits), (std::set{0, 1, 2, 3, 4}));
  // Before 4 stand 0.35 + 0.3 = 0.65.
  EXPECT_EQ(support({.top_p = 0.64f}, logits), (std::set{1, 3}));
  EXPECT_EQ(support({.top_p = 0.66f}, logits), (std::set{1, 3, 4}));
  EXPECT_EQ(support({.top_p = 1e-6f}, logits), (std::set{1}));
  // The threshold is 0.35 times min_p.
  EXPECT_EQ(support({.min_p = 0.5f}, logits), (std::set{1, 3, 4}));
  EXPECT_EQ(support({.min_p = 0.6f}, logits), (std::set{1, 3}));
  EXPECT_EQ(support({.min_p = 1.0f}, logits), (std::set{1}));
}

// After top-k 3 the probabilities are 0.41, 0.35, 0.24, so top-p 0.75 ends before the third; of all five it
// would not. Temperature comes first: at 0.5 the two likeliest have 0.77.
TEST(Sampler, FiltersInTheOrderOfTheReference) {
  const auto logits = logits_of({0.1, 0.35, 0.05, 0.3, 0.2});
  EXPECT_EQ(support({.top_p = 0.75f}, logits), (std::set{1, 3, 4}));
  EXPECT_EQ(support({.top_k = 3, .top_p = 0.75f}, logits), (std::set{1, 3}));
  EXPECT_EQ(support({.temperature = 0.5f, .top_p = 0.75f}, logits), (std::set{1, 3}));
}

TEST(Sampler, RepetitionPenaltyPullsLogitsTowardsTheUnlikely) {
  const std::vector<float> logits = {2.0f, 1.5f, -1.0f, -1.5f};
  Sampler sampler({.temperature = 0, .repetition_penalty = 2.0f});
  EXPECT_EQ(sampler.sample(logits), 0);
  EXPECT_EQ(sampler.sample(logits), 1);  // 2 / 2 = 1
  EXPECT_EQ(sampler.sample(logits), 0);  // 1, 0.75: the penalty applies once however often a token was said
  Sampler prompted({.temperature = 0, .repetition_penalty = 2.0f});
  prompted.add_prompt(std::vector<std::int32_t>{0, 1, 2, -1, 1000});
  EXPECT_EQ(prompted.sample(std::vector<float>{-3.0f, -3.0f, -2.0f, -3.5f}), 3);  // -4 after the penalty
}

TEST(Sampler, PresencePenaltyCountsTheAnswerOnly) {
  const std::vector<float> logits = {2.0f, 1.0f, 0.0f};
  Sampler sampler({.temperature = 0, .presence_penalty = 1.5f});
  sampler.add_prompt(std::vector<std::int32_t>{0});
  EXPECT_EQ(sampler.sample(logits), 0);
  EXPECT_EQ(sampler.sample(logits), 1);  // 0.5, 1
  EXPECT_EQ(sampler.sample(logits), 0);  // 0.5, -0.5, 0: taken once
}

TEST(Sampler, SameSeedSameTokens) {
  const auto logits = logits_of({0.4, 0.05, 0.3, 0.2, 0.05});
  Sampler a({.seed = 7}), b({.seed = 7}), c({.seed = 8});
  std::vector<int> x, y, z;
  for (int i = 0; i < 50; ++i) {
    x.push_back(a.sample(logits));
    y.push_back(b.sample(logits));
    z.push_back(c.sample(logits));
  }
  EXPECT_EQ(x, y);
  EXPECT_NE(x, z);
}

TEST(Sampler, EqualLogitsRankById) {
  const std::vector<float> equal(6, 1.0f);
  EXPECT_EQ(Sampler({.temperature = 0}).sample(equal), 0);
  EXPECT_EQ(support({.top_k = 2}, equal), (std::set{0, 1}));
  EXPECT_EQ(top_logprobs(equal, 2)[1].id, 1);
}

TEST(Sampler, NeverDrawsWhatIsImpossible) {
  const std::vector<float> logits = {-kInf, 1.0f, -kInf, 1.0f, -kInf};
  EXPECT_EQ(support({}, logits), (std::set{1, 3}));
  EXPECT_EQ(support({.temperature = 1e-30f}, {0.0f, 1.0f, 0.5f}), (std::set{1}));
}

TEST(Sampler, RefusesLogitsWithoutADistribution) {
  for (const float temperature : {0.0f, 1.0f}) {
    Sampler sampler({.temperature = temperature});
    const auto sample = [&](std::vector<float> logits) { sampler.sample(logits); };
    EXPECT_TESSERA_ERROR(sample({1, NAN, NAN}), kModel, "logits[1]", "NaN");
    EXPECT_TESSERA_ERROR(sample({1, 0, kInf}), kModel, "logits[2]", "+Inf");
    EXPECT_TESSERA_ERROR(sample({-kInf, -kInf}), kModel, "logits", "all are -Inf");
    EXPECT_TESSERA_ERROR(sample({}), kModel, "logits", "none");
  }
  EXPECT_TESSERA_ERROR(top_logprobs(std::vector<float>{NAN}, 1), kModel, "logits[0]");
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto expect = [](const char* name, const SamplerOptions& options) {
    EXPECT_TESSERA_ERROR(Sampler{options}, kUsage, name, "out of range");
  };
  for (const float value : {-1.0f, NAN, kInf}) {
    expect("temperature", {.temperature = value});
    expect("top_p", {.top_p = value});
    expect("min_p", {.min_p = value});
    expect("repetition_penalty", {.repetition_penalty = value});
  }
  expect("top_k", {.top_k = -5});
  expect("top_p", {.top_p = 0});
  expect("top_p", {.top_p = 1.5f});
  expect("min_p", {.min_p = 1.5f});
  expect("repetition_penalty", {.repetition_penalty = 0});
  expect("presence_penalty", {.presence_penalty = NAN});
}

// The row-major f32 tensor `name` of a safetensors file.
std::vector<float> read_tensor(const std::string& path, const std::string& name) {
  std::ifstream file(path, std::ios::binary);
  std::uint64_t header_size = 0;
  file.read(reinterpret_cast<char*>(&header_size), 8);
  std::string header(header_size, ' ');
  file.read(header.data(), static_cast<std::streamsize>(header_size));
  const auto offsets = nlohmann::json::parse(header)[name]["data_offsets"];
  const std::uint64_t begin = offsets[0], end = offsets[1];
  std::vector<float> out((end - begin) / sizeof(float));
  file.seekg(static_cast<std::streamoff>(8 + header_size + begin));
  file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(end - begin));
  return out;
}

TEST(TopLogprobs, EqualTheReference) {
  TESSERA_REQUIRE_SHARED("cases/dense/system.safetensors");
  for (const std::string name : {"dense/system", "untied/system", "shapes-vl/system", "dense/two"}) {
    const auto logits = read_tensor(shared_golden("cases/" + name + ".safetensors"), "logits");
    const auto chat = testing::golden_chat(name.substr(0, name.find('/')), name.substr(name.find('/') + 1));
    const auto got = top_logprobs(logits, 8);
    const auto& expected = chat["top_logprobs"][0];
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].id, expected[i]["id"]);
      EXPECT_NEAR(got[i].logprob, expected[i]["logprob"].get<double>(), 2e-5);
    }
    EXPECT_EQ(Sampler({.temperature = 0}).sample(logits), chat["token_ids"][0]);
  }
}

TEST(TopLogprobs, AreNaturalLogsOverEverything) {
  const auto top = top_logprobs(logits_of({0.5, 0.125, 0.375}), 10);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[1].id, 2);
  EXPECT_NEAR(top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_NEAR(top[2].logprob, std::log(0.125), 1e-6);
}

TEST(GenerationDefaults, ReadsThePublishedKeys) {
  const auto d = GenerationDefaults::from_folder(golden("tokenizer/untied")).value();
  EXPECT_TRUE(d.do_sample);
  EXPECT_EQ(d.eos_token_ids, (std::vector<std::int32_t>{648, 646}));
  EXPECT_EQ(d.pad_token_id, 646);
  const SamplerOptions options = d.sampler_options();
  EXPECT_EQ(options.temperature, 0.7f);
  EXPECT_EQ(options.top_p, 0.8f);
  EXPECT_EQ(options.top_k, 20);
  EXPECT_EQ(options.repetition_penalty, 1.0f);
  EXPECT_EQ(GenerationDefaults::from_folder(golden("tokenizer/dense")), std::nullopt);
}

TEST(GenerationDefaults, MissingKeysMeanGreedy) {
  const auto d = GenerationDefaults::from_json(R"({"eos_token_id": 5})", "g.json");
  EXPECT_EQ(d.eos_token_ids, (std::vector<std::int32_t>{5}));
  EXPECT_EQ(d.sampler_options().temperature, 0);
}

TEST(GenerationDefaults, RefusesWrongValuesByKey) {
  const auto expect = [](const char* key, const char* text) {
    EXPECT_TESSERA_ERROR(GenerationDefaults::from_json(text, "g.json"), kModel, "g.json", key);
  };
  expect("temperature", R"({"temperature": -1})");
  expect("top_p", R"({"top_p": "0.8"})");
  expect("top_p", R"({"top_p": 0})");
  expect("top_k", R"({"top_k": 1.5})");
  expect("repetition_penalty", R"({"repetition_penalty": 0})");
  expect("eos_token_id[1]", R"({"eos_token_id": [1, -2]})");
  expect("pad_token_id", R"({"pad_token_id": 4294967296})");
}

}  // namespace
}  // namespace tessera
