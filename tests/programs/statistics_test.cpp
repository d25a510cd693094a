#include "examples/tessera_eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tessera::programs {
namespace {

std::vector<float> logs(std::vector<double> probabilities, double shift = 0) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + shift));
  return logits;
}

TEST(Perplexity, IsTheInverseOfTheGeometricMeanOfProbabilities) {
  PerplexitySum sum;
  EXPECT_EQ(sum.value(), 0);
  sum.add(logs({0.5, 0.25, 0.25}, 3), 0);
  EXPECT_EQ(sum.error(), 0);
  EXPECT_NEAR(sum.value(), 2, 1e-6);
  sum.add(logs({0.5, 0.25, 0.25}, -90), 1);
  sum.add(logs({0.125, 0.125, 0.75}), 1);
  EXPECT_EQ(sum.tokens(), 3u);
  EXPECT_NEAR(sum.value(), 4, 1e-4);  // (2 · 4 · 8)^(1/3)
  // Losses ln 2 · {1, 2, 3}: variance ln² 2 · 2/3, over n - 1 = 2.
  EXPECT_NEAR(sum.error(), 4 * std::log(2.0) * std::sqrt(1.0 / 3), 1e-4);
}

TEST(Divergence, OfAModelFromItselfIsNothing) {
  DivergenceSum sum;
  sum.add(logs({0.5, 0.3, 0.2}), logs({0.5, 0.3, 0.2}));
  const Divergence d = sum.result();
  EXPECT_EQ(d.positions, 1u);
  EXPECT_EQ(d.mean, 0);
  EXPECT_EQ(d.max, 0);
  EXPECT_EQ(d.top1_agreement, 1);
  EXPECT_EQ(d.delta_p_max, 0);
}

TEST(Divergence, IsThatOfTheModelFromTheReference) {
  DivergenceSum sum;
  sum.add(logs({0.5, 0.5}), logs({0.25, 0.75}));  // equal logits: token 0 is the likeliest
  sum.add(logs({0.9, 0.1}), logs({0.8, 0.2}, 5));
  const double first = 0.5 * std::log(2) + 0.5 * std::log(2.0 / 3);
  const double second = 0.9 * std::log(0.9 / 0.8) + 0.1 * std::log(0.5);
  const Divergence d = sum.result();
  EXPECT_NEAR(d.mean, (first + second) / 2, 1e-6);
  EXPECT_NEAR(d.max, first, 1e-6);
  EXPECT_NEAR(d.p99, first, 1e-6);
  EXPECT_EQ(d.top1_agreement, 0.5);
  EXPECT_NEAR(d.delta_p_mean, (0.25 + 0.1) / 2, 1e-6);
  EXPECT_NEAR(d.delta_p_max, 0.25, 1e-6);
}

TEST(Divergence, PassesOverWhatTheReferenceRulesOut) {
  DivergenceSum sum;
  sum.add(std::vector<float>{0, -INFINITY}, std::vector<float>{0, -INFINITY});
  EXPECT_EQ(sum.result().mean, 0);
  sum.add(std::vector<float>{0, 0}, std::vector<float>{0, -INFINITY});
  EXPECT_EQ(sum.result().max, INFINITY);
}

TEST(Divergence, PercentileIsTheNearestRank) {
  DivergenceSum sum;
  for (int i = 0; i < 200; ++i) {
    const double q = i < 198 ? 0.5 : i == 198 ? 0.25 : 0.125;
    sum.add(logs({0.5, 0.5}), logs({q, 1 - q}));
  }
  EXPECT_NEAR(sum.result().p99, 0, 1e-9);  // the 198th of 200
  EXPECT_GT(sum.result().max, 0.3);
  EXPECT_EQ(DivergenceSum().result().positions, 0u);
}

}  // namespace
}  // namespace tessera::programs
