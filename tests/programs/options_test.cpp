#include "examples/qwen3vl/options.h"

#include <gtest/gtest.h>

#include "tensor/error.h"

namespace tessera::programs {
namespace {

GenerationDefaults published() {
  GenerationDefaults defaults;
  defaults.do_sample = true;
  defaults.temperature = 0.7f;
  defaults.top_k = 20;
  defaults.top_p = 0.8f;
  return defaults;
}

TEST(SamplerSettings, AreTheModelsUnlessChanged) {
  const SamplerOptions s = sampler_options({}, published(), 99);
  EXPECT_EQ(s.temperature, 0.7f);
  EXPECT_EQ(s.top_k, 20);
  EXPECT_EQ(s.top_p, 0.8f);
  EXPECT_EQ(s.repetition_penalty, 1);
  EXPECT_EQ(s.seed, 99u);
}

TEST(SamplerSettings, EachFlagChangesItsOwn) {
  Options o;
  o.top_p = 0.5f;
  o.min_p = 0.1f;
  o.repeat_penalty = 1.1f;
  o.presence_penalty = 1.5f;
  o.top_k = 0;
  o.seed = 7;
  const SamplerOptions s = sampler_options(o, published(), 99);
  EXPECT_EQ(s.temperature, 0.7f);
  EXPECT_EQ(s.top_p, 0.5f);
  EXPECT_EQ(s.min_p, 0.1f);
  EXPECT_EQ(s.repetition_penalty, 1.1f);
  EXPECT_EQ(s.presence_penalty, 1.5f);
  EXPECT_EQ(s.top_k, 0);
  EXPECT_EQ(s.seed, 7u);
}

TEST(SamplerSettings, GreedyIsTemperatureZero) {
  Options o;
  o.greedy = true;
  o.temperature = 0.9f;
  EXPECT_EQ(sampler_options(o, published(), 0).temperature, 0);
}

TEST(PictureTokens, AreAreasOfMergedPatches) {
  Options o;
  o.image_min_tokens = 10;
  o.image_max_tokens = 100;
  const PreprocessConfig c = preprocess_config(o, {});
  EXPECT_EQ(c.min_pixels, 10 * 32 * 32);
  EXPECT_EQ(c.max_pixels, 100 * 32 * 32);
}

TEST(PictureTokens, OneBoundMovesTheOtherOutOfItsWay) {
  PreprocessConfig model;
  model.min_pixels = 64 * 1024;
  model.max_pixels = 100 * 1024;
  Options o;
  o.image_max_tokens = 4;
  EXPECT_EQ(preprocess_config(o, model).min_pixels, 4 * 1024);
  o = {};
  o.image_min_tokens = 200;
  EXPECT_EQ(preprocess_config(o, model).max_pixels, 200 * 1024);
}

TEST(PictureTokens, AreAtMost4096UnlessAskedForMore) {
  constexpr std::int64_t kToken = 32 * 32;
  EXPECT_EQ(preprocess_config({}, {}).max_pixels, 4096 * kToken);
  PreprocessConfig small;
  small.max_pixels = 100 * kToken;
  EXPECT_EQ(preprocess_config({}, small).max_pixels, 100 * kToken);
  Options o;
  o.image_max_tokens = 5000;
  EXPECT_EQ(preprocess_config(o, {}).max_pixels, 5000 * kToken);
  o = {};
  o.image_min_tokens = 6000;
  EXPECT_EQ(preprocess_config(o, {}).max_pixels, 6000 * kToken);
}

TEST(ContextSize, IsTheModelsUpTo8192) {
  EXPECT_EQ(context_size({}, 2048), 2048);
  EXPECT_EQ(context_size({}, 262144), 8192);
  Options o;
  o.context = 2049;
  EXPECT_EQ(context_size(o, 262144), 2049);
  try {
    context_size(o, 2048);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(error.what(), "-c: out of range (got 2049, expected 2 to 2048)");
  }
}

}  // namespace
}  // namespace tessera::programs
