#include "tensor/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tensor/buffer.h"
#include "tensor/error.h"

namespace tessera {
namespace {

constexpr std::size_t kUnit = kAlignment;

bool share_a_step(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

std::size_t padded(const Lifetime& value) { return (value.bytes + kUnit - 1) / kUnit * kUnit; }

TEST(MemoryPlan, OfNothingTakesNothing) {
  EXPECT_EQ(memory_plan({}).total_bytes, 0u);
  const Lifetime empty[] = {{0, 1, 0}, {0, 1, 0}};
  EXPECT_EQ(memory_plan(empty).total_bytes, 0u);
}

TEST(MemoryPlan, KeepsLiveValuesApart) {
  const Lifetime values[] = {{0, 1, kUnit}, {1, 2, 2 * kUnit}};  // both live in step 1
  const MemoryPlan plan = memory_plan(values);
  EXPECT_EQ(plan.offsets, (std::vector<std::size_t>{2 * kUnit, 0}));
  EXPECT_EQ(plan.total_bytes, 3 * kUnit);
}

TEST(MemoryPlan, ReusesTheMemoryOfEndedValues) {
  const Lifetime values[] = {{0, 1, 4 * kUnit}, {2, 3, 4 * kUnit}, {4, 5, 3 * kUnit}};
  const MemoryPlan plan = memory_plan(values);
  EXPECT_EQ(plan.offsets, (std::vector<std::size_t>{0, 0, 0}));
  EXPECT_EQ(plan.total_bytes, 4 * kUnit);
}

TEST(MemoryPlan, ReusesALeadingGap) {
  // The first has ended when the third begins; the second lies behind the first.
  const Lifetime values[] = {{0, 1, 3 * kUnit}, {0, 3, 2 * kUnit}, {2, 3, kUnit}};
  const MemoryPlan plan = memory_plan(values);
  EXPECT_EQ(plan.offsets, (std::vector<std::size_t>{0, 3 * kUnit, 0}));
  EXPECT_EQ(plan.total_bytes, 5 * kUnit);
}

TEST(MemoryPlan, ReusesAGapBetweenLiveValues) {
  const Lifetime values[] = {{0, 9, 4 * kUnit}, {0, 1, 3 * kUnit}, {0, 9, 2 * kUnit}, {2, 9, kUnit}};
  const MemoryPlan plan = memory_plan(values);
  EXPECT_EQ(plan.offsets, (std::vector<std::size_t>{0, 4 * kUnit, 7 * kUnit, 4 * kUnit}));
  EXPECT_EQ(plan.total_bytes, 9 * kUnit);
}

TEST(MemoryPlan, PassesOverGapsThatAreTooSmall) {
  // Between the first and the third is room for one unit, the last needs two.
  const Lifetime values[] = {{0, 9, 5 * kUnit}, {0, 1, 4 * kUnit}, {0, 9, 3 * kUnit}, {2, 9, 3 * kUnit + 1}};
  const MemoryPlan plan = memory_plan(values);
  EXPECT_EQ(plan.offsets[3], 5 * kUnit);  // larger than the third, so placed before it
  EXPECT_EQ(plan.offsets[2], 9 * kUnit);
  EXPECT_EQ(plan.total_bytes, 12 * kUnit);
}

TEST(MemoryPlan, KeepsItsPromisesForRandomLifetimes) {
  std::mt19937 engine(1);
  auto below = [&engine](std::uint32_t n) { return static_cast<std::int32_t>(engine() % n); };
  for (int round = 0; round < 500; ++round) {
    const std::int32_t steps = 1 + below(40);
    std::vector<Lifetime> values(static_cast<std::size_t>(below(60)));
    for (Lifetime& value : values) {
      value.first = below(static_cast<std::uint32_t>(steps));
      value.last = std::min(steps - 1, value.first + below(round % 2 ? 4 : 40));
      value.bytes = static_cast<std::size_t>(below(8) ? below(5000) : 0);
    }
    const MemoryPlan plan = memory_plan(values);
    ASSERT_EQ(plan.offsets.size(), values.size());
    std::size_t sum = 0, end = 0, peak = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(plan.offsets[i] % kAlignment, 0u);
      sum += padded(values[i]);
      end = std::max(end, plan.offsets[i] + padded(values[i]));
      for (std::size_t j = 0; j < i; ++j) {
        if (!share_a_step(values[i], values[j])) continue;
        const bool apart = plan.offsets[i] + values[i].bytes <= plan.offsets[j] ||
                           plan.offsets[j] + values[j].bytes <= plan.offsets[i];
        ASSERT_TRUE(apart || values[i].bytes == 0 || values[j].bytes == 0) << "round " << round;
      }
    }
    for (std::int32_t step = 0; step < steps; ++step) {
      std::size_t live = 0;
      for (const Lifetime& value : values)
        live += value.first <= step && step <= value.last ? value.bytes : 0;
      peak = std::max(peak, live);
    }
    ASSERT_EQ(plan.total_bytes, end);
    ASSERT_GE(plan.total_bytes, peak);
    ASSERT_LE(plan.total_bytes, sum);
    ASSERT_EQ(memory_plan(values).offsets, plan.offsets);  // a pure function
  }
}

TEST(MemoryPlan, RefusesTotalsBeyond64Bits) {
  const std::vector<Lifetime> values(5, {0, 1, std::size_t{1} << 62});
  try {
    memory_plan(values);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResource);
    EXPECT_STREQ(error.what(), "memory: intermediate values take more than 2^64 bytes");
  }
}

}  // namespace
}  // namespace tessera
