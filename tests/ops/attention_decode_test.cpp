// Attention of one position: blocks of keys, merged in their order.
#include <cstring>

#include "tests/ops/attention_test.h"

namespace tessera::testing {
namespace {

constexpr std::int64_t kDepths[] = {0, 1, 15, 16, 17, 255, 256, 257, 1000, 1300};

std::string place(const Cpu& cpu, const AttentionCase& x, std::int64_t past, DType type) {
  return std::string(name(cpu.best())) + " " + std::string(info(type).name) + " d " + std::to_string(x.dim) +
         " H " + std::to_string(x.heads) + " G " + std::to_string(x.kv_heads) + " past " +
         std::to_string(past);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(AttentionDecode, MatchesDoubleAtEveryDepthAndGroup) {
  for (const std::int64_t group : {1, 2, 4, 5, 8}) {
    for (const std::int64_t past : kDepths) {
      const AttentionCase x(1, 2 * group, 2, 128, past + 5);
      for (const DType type : kCacheTypes) {
        const Expected expected = expected_causal(stored(x, type), past);
        for (const Cpu& cpu : cpus()) {
          SCOPED_TRACE(place(cpu, x, past, type));
          expect_within(run_causal(x, past, type, cpu), expected, decode_rounding(cpu, type));
        }
      }
    }
  }
}

TEST(AttentionDecode, MatchesDoubleForEveryHeadWidth) {
  for (const std::int64_t dim : {1, 7, 16, 33, 40, 64, 72, 80, 96, 256}) {
    for (const std::int64_t past : {3, 300}) {
      const AttentionCase x(1, 7, 1, dim, past + 1);
      for (const DType type : kCacheTypes) {
        if (dim % info(type).block_elems != 0) continue;
        const Expected expected = expected_causal(stored(x, type), past);
        for (const Cpu& cpu : cpus()) {
          SCOPED_TRACE(place(cpu, x, past, type));
          expect_within(run_causal(x, past, type, cpu), expected, decode_rounding(cpu, type));
        }
      }
    }
  }
}

TEST(AttentionDecode, ThreadsDoNotChangeBits) {
  const AttentionCase x(1, 8, 2, 128, 1500);
  for (const DType type : kCacheTypes) {
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(place(cpu, x, 1100, type));
      const auto one = run_causal(x, 1100, type, cpu, 1);
      for (const int threads : {2, 3, 5, 16}) {
        EXPECT_TRUE(same_bits(run_causal(x, 1100, type, cpu, threads), one)) << threads;
      }
    }
  }
}

TEST(AttentionDecode, AskingAheadDoesNotChangeBits) {
  const AttentionCase x(1, 8, 2, 128, 600);
  for (const DType type : kFloatCacheTypes) {
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(place(cpu, x, 500, type));
      const auto plain = run_causal(x, 500, type, cpu.asking_ahead(0));
      EXPECT_TRUE(same_bits(run_causal(x, 500, type, cpu.asking_ahead(8192)), plain));
    }
  }
}

// Whatever heads share the keys, and however many rows the cache has room for.
TEST(AttentionDecode, NeighboursAndRoomDoNotChangeBits) {
  const AttentionCase wide(1, 7, 1, 96, 700);
  for (const DType type : kCacheTypes) {
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(place(cpu, wide, 520, type));
      const auto all = run_causal(wide, 520, type, cpu);
      for (std::ptrdiff_t head = 0; head < 7; ++head) {
        AttentionCase narrow(1, 1, 1, 96, 521);
        std::copy_n(wide.q.begin() + head * 96, 96, narrow.q.begin());
        narrow.k.assign(wide.k.begin(), wide.k.begin() + 521 * 96);
        narrow.v.assign(wide.v.begin(), wide.v.begin() + 521 * 96);
        EXPECT_TRUE(same_bits(
            run_causal(narrow, 520, type, cpu),
            {&all[static_cast<std::size_t>(head) * 96], &all[static_cast<std::size_t>(head) * 96] + 96}))
            << head;
      }
    }
  }
}

// 32 key/value heads share out their keys in runs of four blocks and one, a head alone in runs of one.
TEST(AttentionDecode, RunsOfBlocksGiveTheBitsOfBlocks) {
  constexpr std::int64_t kHeads = 32, kDim = 32, kCache = 1200, kPast = 1150;
  const AttentionCase wide(1, kHeads, kHeads, kDim, kCache);
  for (const DType type : kCacheTypes) {
    const Expected expected = expected_causal(stored(wide, type), kPast);
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(place(cpu, wide, kPast, type));
      const auto all = run_causal(wide, kPast, type, cpu);
      expect_within(all, expected, decode_rounding(cpu, type));
      EXPECT_TRUE(same_bits(run_causal(wide, kPast, type, cpu, 3), all));
      for (const std::ptrdiff_t head : {0, 13, 31}) {
        AttentionCase narrow(1, 1, 1, kDim, kCache);
        std::copy_n(wide.q.begin() + head * kDim, kDim, narrow.q.begin());
        for (std::ptrdiff_t s = 0; s < kCache; ++s) {
          std::copy_n(wide.k.begin() + (s * kHeads + head) * kDim, kDim, narrow.k.begin() + s * kDim);
          std::copy_n(wide.v.begin() + (s * kHeads + head) * kDim, kDim, narrow.v.begin() + s * kDim);
        }
        const auto of_head = all.begin() + head * kDim;
        EXPECT_TRUE(same_bits(run_causal(narrow, kPast, type, cpu), {of_head, of_head + kDim})) << head;
      }
    }
  }
}

// Queries whose elements are far apart, blocks with the largest and smallest scales and with a scale of zero.
TEST(AttentionDecode, KeepsExtremeScalesOfBlocks) {
  AttentionCase x(1, 4, 1, 96, 300);
  for (std::size_t i = 0; i < x.q.size(); ++i) x.q[i] *= i % 7 == 0 ? 1e-3f : i % 5 == 0 ? 8 : 1;
  for (std::size_t s = 0; s < 300; ++s) {
    for (std::size_t i = 0; i < 32; ++i) {
      x.k[s * 96 + i] *= s % 3 == 0 ? 0x1p-24f : s % 3 == 1 ? 0.0f : 1.0f;
      x.v[s * 96 + i] = static_cast<float>(i) * (s % 2 ? 65504.0f : -0x1p-24f);
    }
  }
  const Expected expected = expected_causal(stored(x, DType::kQ8_0), 290);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    expect_within(run_causal(x, 290, DType::kQ8_0, cpu), expected, decode_rounding(cpu, DType::kQ8_0));
  }
}

// All keys count the same for a query of zeros, and for one that is next to nothing.
TEST(AttentionDecode, AveragesValuesForTheLeastQueries) {
  for (const float query : {0.0f, 1e-42f, 1e-36f, -1e-31f}) {
    for (const std::int64_t past : {2, 256, 299}) {
      AttentionCase x(1, 6, 1, 96, 300);
      std::fill(x.q.begin(), x.q.end(), query);
      for (const DType type : kCacheTypes) {
        const Expected expected = expected_causal(stored(x, type), past);
        for (const Cpu& cpu : cpus()) {
          SCOPED_TRACE(place(cpu, x, past, type) + " q " + std::to_string(query));
          expect_within(run_causal(x, past, type, cpu), expected, decode_rounding(cpu, type));
        }
      }
    }
  }
}

// Integers of 31 bits just hold the sum of a block.
TEST(AttentionDecode, SumsTheLargestCodesOfEqualWeights) {
  for (const float value : {1.0f, -1.0f}) {
    for (const std::int64_t past : {255, 511}) {
      AttentionCase x(1, 4, 1, 128, 512);
      std::fill(x.q.begin(), x.q.end(), 0.0f);
      std::fill(x.v.begin(), x.v.end(), value);
      const Expected expected = expected_causal(stored(x, DType::kQ8_0), past);
      for (const Cpu& cpu : cpus()) {
        SCOPED_TRACE(place(cpu, x, past, DType::kQ8_0));
        expect_within(run_causal(x, past, DType::kQ8_0, cpu), expected, decode_rounding(cpu, DType::kQ8_0));
      }
    }
  }
}

// A block that holds NaN, and a query that does.
TEST(AttentionDecode, NaNInBlocksOrQueriesReachesWhatSeesIt) {
  for (const std::int64_t bad : {0, 255, 256, 399, 400}) {
    for (const int operand : {0, 1, 2}) {
      AttentionCase x(1, 8, 2, 96, 420);
      TestCache k(x, ops::CachePart::kKeys, DType::kQ8_0), v(x, ops::CachePart::kValues, DType::kQ8_0);
      if (operand == 0) x.q[5 * 96 + 3] = NAN;
      if (operand > 0) (operand == 1 ? k : v).spoil(bad, 1, 1);  // the second of three blocks of head 1
      const std::vector<std::int32_t> past{399};
      for (const Cpu& cpu : cpus()) {
        SCOPED_TRACE(place(cpu, x, 399, DType::kQ8_0) + " at " + std::to_string(bad));
        const auto y = run(
            [&](Graph& g) {
              return ops::causal_attention(g, view(x.q, {1, 8, 96}), k.view(), v.view(), view(past, {1}),
                                           x.scale);
            },
            cpu);
        for (std::size_t i = 0; i < y.size(); ++i) {
          const bool seen = bad <= 399 && i / 96 >= 4;
          const bool hit = operand == 0 ? i / 96 == 5 : seen && (operand == 1 || i % 96 / 32 == 1);
          ASSERT_EQ(std::isnan(y[i]), hit) << i;
        }
      }
    }
  }
}

// [C, G, d] in memory, and the rows of each head together.
TEST(AttentionDecode, OrderOfTheCacheDoesNotChangeBits) {
  const AttentionCase x(1, 8, 2, 64, 600);
  const std::vector<std::int32_t> past{590};
  for (const DType type : kFloatCacheTypes) {
    const TensorDesc desc = ops::cache_desc(type, ops::CachePart::kKeys, {600, 2, 64});
    const auto row = static_cast<std::size_t>(desc.strides[0]);
    const auto by_head = [&](const std::vector<float>& values) {
      const auto rows = encoded(values, type);
      std::vector<std::uint8_t> heads;
      for (std::size_t i = 0; i < 1200; ++i) {
        const std::size_t from = (i % 600 * 2 + i / 600) * row;
        heads.insert(heads.end(), rows.begin() + static_cast<std::ptrdiff_t>(from),
                     rows.begin() + static_cast<std::ptrdiff_t>(from + row));
      }
      return heads;
    };
    auto k = by_head(x.k), v = by_head(x.v);
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(place(cpu, x, 590, type));
      const auto y = run(
          [&](Graph& g) {
            return ops::causal_attention(g, view(x.q, {1, 8, 64}), TensorView(desc, k.data()),
                                         TensorView(desc, v.data()), view(past, {1}), x.scale);
          },
          cpu);
      EXPECT_TRUE(same_bits(y, run_causal(x, 590, type, cpu)));
    }
  }
}

TEST(AttentionDecode, SeesNothingBeforeTheCacheAndAllOfItPastItsEnd) {
  const AttentionCase x(1, 4, 2, 40, 300);
  const std::vector<float> zeros(160);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    EXPECT_EQ(run_causal(x, -1, DType::kF32, cpu), zeros);
    EXPECT_EQ(run_causal(x, INT32_MIN, DType::kF32, cpu), zeros);
    expect_within(run_causal(x, INT32_MAX, DType::kF32, cpu), expected_causal(x, 299));
  }
}

TEST(AttentionDecode, PropagatesNaNOnlyWhereItIsSeen) {
  for (const std::int64_t bad : {0, 20, 255, 256, 399, 400, 410}) {
    for (const bool in_key : {true, false}) {
      AttentionCase x(1, 8, 2, 64, 450);
      const AttentionCase good = x;
      (in_key ? x.k : x.v)[static_cast<std::size_t>((bad * 2 + 1) * 64 + 40)] = NAN;
      for (const Cpu& cpu : cpus()) {
        for (const DType type : kFloatCacheTypes) {
          SCOPED_TRACE(place(cpu, x, 399, type) + " at " + std::to_string(bad));
          const auto y = run_causal(x, 399, type, cpu), clean = run_causal(good, 399, type, cpu);
          for (std::size_t i = 0; i < y.size(); ++i) {
            const bool hit = bad <= 399 && i / 64 >= 4 && (in_key || i % 64 == 40);
            ASSERT_TRUE(hit ? std::isnan(y[i]) : y[i] == clean[i]) << i;
          }
        }
      }
    }
  }
}

TEST(AttentionDecode, SurvivesHugeScoresAndBlocksFarBelowTheOthers) {
  AttentionCase x(1, 4, 1, 64, 600);
  for (float& value : x.q) value *= 100;
  for (std::size_t i = 0; i < x.k.size(); ++i) x.k[i] *= i / 64 < 256 ? 1e-3f : 100;
  const Expected expected = expected_causal(x, 599);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    expect_within(run_causal(x, 599, DType::kF32, cpu), expected);
  }
}

}  // namespace
}  // namespace tessera::testing
