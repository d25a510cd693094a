#include "ops/quantize_rows/quantize_rows.h"

#include <cstring>

#include "ops/quantize_rows/kernels.h"
#include "tests/ops/blocks.h"

namespace tessera::testing {
namespace {

std::vector<std::int32_t> quantize(const std::vector<float>& x, std::int64_t k, const Cpu& cpu,
                                   int threads = 1) {
  const TensorView rows = view(x, {static_cast<std::int64_t>(x.size()) / k, k});
  return run<std::int32_t>([&](Graph& g) { return ops::quantize_rows(g, g.constant(rows)); }, cpu, threads);
}

// Every level gives the bytes of the rule.
void expect_by_rule(const std::vector<float>& x, std::int64_t k) {
  const auto expected = quantized(x);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    const auto y = quantize(x, k, cpu, 2);
    ASSERT_EQ(y.size() * 4, expected.size() * sizeof(ops::ActivationGroup));
    for (std::size_t g = 0; g < expected.size(); ++g) {
      ASSERT_EQ(std::memcmp(&y[g * ops::kGroupDwords], &expected[g], sizeof expected[g]), 0) << "group " << g;
    }
  }
}

TEST(QuantizeRows, FollowsTheWrittenRuleOnEveryLevel) {
  for (const std::int64_t groups : {1, 2, 15, 16, 17, 80}) {
    for (const float scale : {1e-30f, 1.0f, 3e5f})
      expect_by_rule(random_floats(3 * groups * 32, 1, scale), groups * 32);
  }
}

TEST(QuantizeRows, RoundsHalvesToEven) {
  std::vector<float> x(32);
  x[0] = 127;
  for (std::size_t i = 1; i < 32; ++i) x[i] = static_cast<float>(i) - 16.5f;
  expect_by_rule(x, 32);
  const auto y = quantize(x, 32, Cpu::from_environment());
  ops::ActivationGroup group;
  std::memcpy(&group, y.data(), sizeof group);
  EXPECT_EQ(group.d, 1.0f);
  EXPECT_EQ(group.q[1], -16);  // -15.5
  EXPECT_EQ(group.q[2], -14);  // -14.5
  EXPECT_EQ(group.q[17], 0);   // 0.5
  EXPECT_EQ(group.q[18], 2);   // 1.5
  EXPECT_EQ(group.sums[0], 127 - 16 - 2 * (14 + 12 + 10 + 8 + 6 + 4 + 2));
  EXPECT_EQ(group.sums[1], 2 * (2 + 4 + 6 + 8 + 10 + 12 + 14));
  EXPECT_EQ(group.sum, 127 - 16);
}

TEST(QuantizeRows, TakesTheEndsOfTheRangeOfFloats) {
  auto x = random_floats(9 * 32, 1);
  std::fill_n(x.begin(), 32, 0.0f);
  std::fill_n(x.begin() + 32, 32, -0.0f);
  std::fill_n(x.begin() + 64, 32, 0x1p-112f);
  std::fill_n(x.begin() + 96, 32, 0x1.fffffep-113f);
  std::fill_n(x.begin() + 128, 32, 1e-40f);
  std::fill_n(x.begin() + 160, 32, -std::numeric_limits<float>::max());
  x[192] = std::numeric_limits<float>::infinity();
  x[224] = -std::numeric_limits<float>::quiet_NaN();
  x[256] = 1e38f;
  expect_by_rule(x, 32);
}

TEST(QuantizeRows, WritesNothingBeyondItsGroups) {
  const auto x = random_floats(3 * 32, 1);
  for (std::int64_t groups = 0; groups <= 3; ++groups) {
    const Cpu cpu = Cpu::from_environment();
#define TESSERA_KERNEL(level, function)                                                   \
  if (cpu.has(IsaLevel::level)) {                                                         \
    std::vector<std::uint8_t> y(4 * sizeof(ops::ActivationGroup), 0xAB);                  \
    ops::function(x.data(), reinterpret_cast<ops::ActivationGroup*>(y.data()), groups);   \
    const auto written = static_cast<std::size_t>(groups) * sizeof(ops::ActivationGroup); \
    for (std::size_t i = written; i < y.size(); ++i) ASSERT_EQ(y[i], 0xAB) << #function;  \
  }
#include "ops/quantize_rows/kernels.inc"
#undef TESSERA_KERNEL
  }
}

TEST(QuantizeRows, GivesTheSameBytesForAnyNumberOfThreads) {
  const auto x = random_floats(5 * 9728, 1);
  const auto one = quantize(x, 9728, Cpu::from_environment(), 1);
  for (const int threads : {2, 3, 7}) EXPECT_EQ(quantize(x, 9728, Cpu::from_environment(), threads), one);
}

TEST(QuantizeRows, RefusesRowsThatGroupsDoNotFill) {
  const std::vector<float> x(2 * 48);
  expect_usage_error(
      [&](Graph& g) {
        ops::quantize_rows(g, g.constant(view(x, {2, 48})));
      },
      "quantize_rows: x is f32[2, 48], expected dense f32 rows of a multiple of 32");
  Graph g;
  EXPECT_EQ(g.shape(ops::quantize_rows(g, g.constant(view(x, {1, 3, 32})))), (Shape{1, 3, 12}));
}

}  // namespace
}  // namespace tessera::testing
