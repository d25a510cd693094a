#include "tests/ops/attention_test.h"

namespace tessera::testing {
namespace {

TEST(CausalAttention, MatchesDoubleForEveryTailAndCacheType) {
  for (const std::int64_t dim : {40, 64, 72, 80, 128}) {
    for (const std::int64_t tokens : {1, 2, 5, 17, 64, 65, 130}) {
      for (const std::int64_t past : {0, 1, 63, 64, 65, 200}) {
        const AttentionCase x(tokens, 4, 2, dim, past + tokens + 3);
        for (const DType type : kFloatCacheTypes) {
          const Expected expected = expected_causal(stored(x, type), past);
          for (const Cpu& cpu : cpus()) {
            SCOPED_TRACE(std::string(name(cpu.best())) + " " + std::string(info(type).name) + " d " +
                         std::to_string(dim) + " T " + std::to_string(tokens) + " past " +
                         std::to_string(past));
            expect_within(run_causal(x, past, type, cpu), expected, causal_rounding(cpu, tokens, type));
          }
        }
      }
    }
  }
}

TEST(CausalAttention, MatchesDoubleOverBlocks) {
  for (const std::int64_t dim : {32, 64, 96, 128, 256}) {
    for (const std::int64_t tokens : {1, 5, 65}) {
      for (const std::int64_t past : {0, 1, 31, 63, 64, 65, 127, 128}) {
        const AttentionCase x(tokens, 4, 2, dim, past + tokens + 3);
        const Expected expected = expected_causal(stored(x, DType::kQ8_0), past);
        for (const Cpu& cpu : cpus()) {
          SCOPED_TRACE(std::string(name(cpu.best())) + " d " + std::to_string(dim) + " T " +
                       std::to_string(tokens) + " past " + std::to_string(past));
          expect_within(run_causal(x, past, DType::kQ8_0, cpu), expected,
                        causal_rounding(cpu, tokens, DType::kQ8_0));
        }
      }
    }
  }
}

TEST(CausalAttention, MatchesDoubleInMoreRowsThanABlockHas) {
  const AttentionCase x(250, 4, 1, 64, 280);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    expect_within(run_causal(x, 20, DType::kBF16, cpu), expected_causal(stored(x, DType::kBF16), 20),
                  block_rounding(cpu, DType::kBF16));
  }
}

// Of one key/value head blocks with the largest and smallest scales of f16 and with a scale of zero.
TEST(CausalAttention, KeepsExtremeScalesOfBlocks) {
  AttentionCase x(3, 2, 1, 64, 70);
  for (std::size_t s = 0; s < 70; ++s) {
    for (std::size_t i = 0; i < 32; ++i) {
      x.k[s * 64 + i] *= s % 3 == 0 ? 0x1p-24f : s % 3 == 1 ? 0.0f : 1.0f;
      x.v[s * 64 + i] = static_cast<float>(i) * (s % 2 ? 65504.0f : -0x1p-24f);
    }
  }
  const Expected expected = expected_causal(stored(x, DType::kQ8_0), 66);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    expect_within(run_causal(x, 66, DType::kQ8_0, cpu), expected, block_rounding(cpu, DType::kQ8_0));
  }
}

TEST(CausalAttention, ServesAnyGroupAndHeadWidth) {
  struct Heads {
    std::int64_t heads, kv_heads, dim;
  };
  for (const Heads& h :
       {Heads{1, 1, 1}, {3, 1, 7}, {6, 6, 16}, {16, 2, 33}, {5, 5, 256}, {130, 1, 24}, {300, 2, 9}}) {
    AttentionCase x(9, h.heads, h.kv_heads, h.dim, 80);
    for (const DType type : kFloatCacheTypes) {
      const Expected expected = expected_causal(stored(x, type), 60);
      for (const Cpu& cpu : cpus()) {
        SCOPED_TRACE(std::string(name(cpu.best())) + " H " + std::to_string(h.heads));
        expect_within(run_causal(x, 60, type, cpu), expected, block_rounding(cpu, type));
      }
    }
  }
}

TEST(CausalAttention, SurvivesHugeScores) {
  AttentionCase x(70, 2, 1, 64, 200);
  for (float& value : x.q) value *= 100;
  for (float& value : x.k) value *= 100;
  for (const DType type : kFloatCacheTypes) {
    const Expected expected = expected_causal(stored(x, type), 130);
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(name(cpu.best()));
      expect_within(run_causal(x, 130, type, cpu), expected, block_rounding(cpu, type));
    }
  }
}

// Scores of +10000 at some keys, which come one by one, and -10000 at the others.
TEST(CausalAttention, PicksTheKeysThatStandOut) {
  AttentionCase x(3, 1, 1, 64, 150);
  x.scale = 1;
  std::fill(x.q.begin(), x.q.end(), 0.0f);
  for (std::size_t t = 0; t < 3; ++t) x.q[t * 64] = 100;
  std::fill(x.k.begin(), x.k.end(), 0.0f);
  for (std::size_t s = 0; s < 150; ++s) x.k[s * 64] = s % 70 == 69 ? 100 : -100;
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    const auto y = run_causal(x, 137, DType::kF32, cpu);
    for (std::size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(y[i], x.v[69 * 64 + i]);  // keys to 137
      EXPECT_EQ(y[64 + i], x.v[69 * 64 + i]);
      EXPECT_NEAR(y[128 + i], (x.v[69 * 64 + i] + x.v[139 * 64 + i]) / 2, 1e-6);
    }
  }
}

TEST(CausalAttention, FindsMaximaFarBelowZero) {
  AttentionCase x(75, 2, 1, 64, 80);
  for (float& value : x.q) value = 1 + value / 100;
  for (float& value : x.k) value -= 30;  // scores about -240, some units apart
  for (const DType type : kFloatCacheTypes) {
    const Expected expected = expected_causal(stored(x, type), 3);
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(name(cpu.best()));
      expect_within(run_causal(x, 3, type, cpu), expected, block_rounding(cpu, type));
    }
  }
}

TEST(CausalAttention, AveragesWhereAllScoresAreEqual) {
  AttentionCase x(66, 4, 2, 80, 66);
  std::fill(x.q.begin(), x.q.end(), 0.0f);
  for (const DType type : kFloatCacheTypes) {
    const Expected expected = expected_causal(stored(x, type), 0);
    for (const Cpu& cpu : cpus())
      expect_within(run_causal(x, 0, type, cpu), expected, block_rounding(cpu, type));
  }
}

TEST(CausalAttention, GivesZerosToRowsThatSeeNothing) {
  AttentionCase x(5, 2, 1, 40, 4);
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    expect_within(run_causal(x, -3, DType::kF32, cpu), expected_causal(x, -3));
    // Past the end of the cache a row sees all of it.
    expect_within(run_causal(x, 100, DType::kF32, cpu), expected_causal(x, 100));
    expect_within(run_causal(x, INT32_MAX, DType::kF32, cpu), expected_causal(x, 100));
  }
}

TEST(CausalAttention, PropagatesNaNToTheRowsThatSeeIt) {
  for (const std::int64_t bad : {0, 20, 71, 99}) {
    for (const int operand : {0, 1, 2}) {
      for (const DType type : kFloatCacheTypes) {
        AttentionCase x(100, 4, 2, 72, 100);
        const AttentionCase good = x;
        // Element 5 of query head 2, or of key/value head 1.
        (operand == 0   ? x.q
         : operand == 1 ? x.k
                        : x.v)[static_cast<std::size_t>(
            (bad * (operand == 0 ? 4 : 2) + (operand == 0 ? 2 : 1)) * 72 + 5)] = NAN;
        for (const Cpu& cpu : cpus()) {
          SCOPED_TRACE(std::string(name(cpu.best())) + " operand " + std::to_string(operand));
          const auto y = run_causal(x, 0, type, cpu), clean = run_causal(good, 0, type, cpu);
          for (std::int64_t i = 0; i < 100 * 4 * 72; ++i) {
            const std::int64_t t = i / (4 * 72), head = i / 72 % 4;
            const bool hit = operand == 0   ? t == bad && head == 2
                             : operand == 1 ? t >= bad && head >= 2
                                            : t >= bad && head >= 2 && i % 72 == 5;
            const auto at = static_cast<std::size_t>(i);
            ASSERT_TRUE(hit ? std::isnan(y[at]) : y[at] == clean[at]) << t << " " << head << " " << i % 72;
          }
        }
      }
    }
  }
}

// Through append_rows, whose blocks with a number that they cannot hold become NaN.
TEST(CausalAttention, ABlockWithNaNOrInfReachesTheRowsThatSeeIt) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const bool in_key : {true, false}) {
      AttentionCase x(100, 4, 2, 96, 100);
      (in_key ? x.k : x.v)[(70 * 2 + 1) * 96 + 40] = bad;  // in the second of three blocks of head 1
      const std::vector<std::int32_t> past{0};
      const Shape cache{100, 2, 96};
      Q8_0Cache k(ops::CachePart::kKeys, cache, 0), v(ops::CachePart::kValues, cache, 0);
      for (const Cpu& cpu : cpus()) {
        SCOPED_TRACE(std::string(name(cpu.best())) + (in_key ? " key " : " value ") + std::to_string(bad));
        const auto y = run(
            [&](Graph& g) {
              const Tensor at = g.constant(view(past, {1}));
              const Tensor keys = ops::append_rows(g, k.view(), view(x.k, cache), at);
              const Tensor values = ops::append_rows(g, v.view(), view(x.v, cache), at);
              return ops::causal_attention(g, view(x.q, {100, 4, 96}), keys, values, at, x.scale);
            },
            cpu);
        for (std::size_t i = 0; i < y.size(); ++i) {
          const std::size_t t = i / (4 * 96), head = i / 96 % 4, element = i % 96;
          const bool hit = t >= 70 && head >= 2 && (in_key || element / 32 == 1);
          ASSERT_EQ(std::isnan(y[i]), hit) << t << " " << head << " " << element;
        }
      }
    }
  }
}

TEST(CausalAttention, TakesAStridedCache) {
  AttentionCase x(6, 4, 2, 64, 70);
  // k and v interleaved: [C, 2 G, d].
  std::vector<float> both;
  for (std::ptrdiff_t s = 0; s < 70; ++s) {
    both.insert(both.end(), x.k.begin() + s * 128, x.k.begin() + s * 128 + 128);
    both.insert(both.end(), x.v.begin() + s * 128, x.v.begin() + s * 128 + 128);
  }
  const std::vector<std::int32_t> past{64};
  for (const DType type : kFloatCacheTypes) {
    const auto bytes = encoded(both, type);
    for (const Cpu& cpu : cpus()) {
      const auto y = run(
          [&](Graph& g) {
            const Tensor cache = g.constant(TensorView(type, {70, 4, 64}, bytes.data()));
            return ops::causal_attention(g, view(x.q, {6, 4, 64}), ops::slice(g, cache, 1, 0, 2),
                                         ops::slice(g, cache, 1, 2, 4), view(past, {1}), x.scale);
          },
          cpu);
      EXPECT_EQ(y, run_causal(x, 64, type, cpu));
    }
  }
}

TEST(CausalAttention, RefusesOperandsThatDoNotFit) {
  const std::vector<float> q(2 * 6 * 8), wide(2 * 300), k(4 * 2 * 8), other(4 * 3 * 8);
  const std::vector<std::int32_t> past{0}, two{0, 0};
  const std::string cache = "expected f32, f16 or bf16 [C, G, d], or q8_0 as cache_desc lays it out";
  const std::string types = cache + ", and H a multiple of G";
  const auto attention = [&](const TensorView& qs, const TensorView& ks, const TensorView& vs,
                             const TensorView& at) {
    return refusal([&](Graph& g) { ops::causal_attention(g, qs, ks, vs, at, 1); });
  };
  const TensorView queries = view(q, {2, 6, 8}), keys = view(k, {4, 2, 8}), at = view(past, {1});
  EXPECT_EQ(attention(view(q, {12, 8}), keys, keys, at),
            "causal_attention: q is f32[12, 8], expected f32[T, H, d] with d from 1 to 256");
  EXPECT_EQ(attention(view(wide, {2, 1, 300}), keys, keys, at),
            "causal_attention: q is f32[2, 1, 300], expected f32[T, H, d] with d from 1 to 256");
  EXPECT_EQ(attention(queries, view(k, {2, 4, 8}), keys, at),
            "causal_attention: k is f32[2, 4, 8], q is f32[2, 6, 8], " + types);
  EXPECT_EQ(attention(queries, {DType::kI32, {4, 2, 8}, k.data()}, keys, at),
            "causal_attention: k is i32[4, 2, 8], q is f32[2, 6, 8], " + types);
  EXPECT_EQ(attention(queries, {DType::kQ8_0, {4, 2, 8}, k.data()}, keys, at),
            "causal_attention: k is q8_0[4, 2, 8], q is f32[2, 6, 8], " + types);
  EXPECT_EQ(attention(queries, {DType::kF16, {4, 2, 8}, k.data()}, keys, at),
            "causal_attention: v is f32[4, 2, 8], k is f16[4, 2, 8], " + cache);
  EXPECT_EQ(attention(queries, keys, view(other, {4, 3, 8}), at),
            "causal_attention: v is f32[4, 3, 8], k is f32[4, 2, 8], " + cache);
  const std::vector<float> blocks(2 * 6 * 32);
  Q8_0Cache key_blocks(ops::CachePart::kKeys, {4, 2, 32}, 0),
      value_blocks(ops::CachePart::kValues, {4, 2, 32}, 0);
  const TensorView of_blocks = view(blocks, {2, 6, 32});
  EXPECT_EQ(attention(of_blocks, value_blocks.view(), value_blocks.view(), at),
            "causal_attention: k is q8_0[4, 2, 32], q is f32[2, 6, 32], " + types);
  EXPECT_EQ(attention(of_blocks, key_blocks.view(), key_blocks.view(), at),
            "causal_attention: v is q8_0[4, 2, 32], k is q8_0[4, 2, 32], " + cache);
  TensorView rows = key_blocks.view();
  std::swap(rows.strides[0], rows.strides[1]);  // as if row after row
  EXPECT_EQ(attention(of_blocks, rows, value_blocks.view(), at),
            "causal_attention: k is q8_0[4, 2, 32], q is f32[2, 6, 32], " + types);
  rows = key_blocks.view();
  rows.layout = 0;
  EXPECT_EQ(attention(of_blocks, rows, value_blocks.view(), at),
            "causal_attention: k is q8_0[4, 2, 32], q is f32[2, 6, 32], " + types);
  EXPECT_EQ(attention(queries, keys, keys, view(two, {2})),
            "causal_attention: past is i32[2], expected i32[1]");
}

std::vector<float> run_segment(const AttentionCase& x, std::int64_t segment, const Cpu& cpu) {
  const Shape shape{x.tokens, x.heads, x.dim};
  return run(
      [&](Graph& g) {
        return ops::segment_attention(g, view(x.q, shape), view(x.k, shape), view(x.v, shape), segment,
                                      x.scale);
      },
      cpu);
}

TEST(SegmentAttention, MatchesDoubleInsideEachSegment) {
  struct Segments {
    std::int64_t rows, segment, heads, dim;
  };
  for (const Segments& s : {Segments{1, 1, 2, 64},
                            {12, 1, 2, 64},
                            {130, 130, 2, 72},
                            {195, 65, 3, 80},
                            {256, 64, 1, 64},
                            {300, 100, 2, 40},
                            {129, 129, 1, 128},
                            {800, 800, 1, 64}}) {  // more rows than a block has
    AttentionCase x(s.rows, s.heads, s.heads, s.dim, s.rows);
    const auto from = [&](std::int64_t t) { return t / s.segment * s.segment; };
    const Expected expected =
        expected_attention(x, from, [&](std::int64_t t) { return from(t) + s.segment; });
    for (const Cpu& cpu : cpus()) {
      SCOPED_TRACE(std::string(name(cpu.best())) + " P " + std::to_string(s.rows));
      expect_within(run_segment(x, s.segment, cpu), expected, segment_rounding(cpu));
    }
  }
}

TEST(SegmentAttention, TakesStridedSlicesOfOneProjection) {
  AttentionCase x(70, 3, 3, 72, 70);
  std::vector<float> joined;  // [P, 3, H, d]
  for (std::ptrdiff_t t = 0; t < 70; ++t) {
    for (const auto* part : {&x.q, &x.k, &x.v}) {
      joined.insert(joined.end(), part->begin() + t * 216, part->begin() + t * 216 + 216);
    }
  }
  for (const Cpu& cpu : cpus()) {
    SCOPED_TRACE(name(cpu.best()));
    const auto y = run(
        [&](Graph& g) {
          const Tensor heads = ops::reshape(g, g.constant(view(joined, {70, 3, 3, 72})), {70, 9, 72});
          return ops::segment_attention(g, ops::slice(g, heads, 1, 0, 3), ops::slice(g, heads, 1, 3, 6),
                                        ops::slice(g, heads, 1, 6, 9), 35, x.scale);
        },
        cpu);
    EXPECT_EQ(y, run_segment(x, 35, cpu));
  }
}

TEST(SegmentAttention, RefusesOperandsThatDoNotFit) {
  const std::vector<float> q(6 * 2 * 8), k(6 * 1 * 8);
  const auto attention = [&](const TensorView& keys, const TensorView& values, std::int64_t segment) {
    return refusal([&](Graph& g) {
      ops::segment_attention(g, view(q, {6, 2, 8}), keys, values, segment, 1);
    });
  };
  const TensorView same = view(q, {6, 2, 8});
  EXPECT_EQ(attention(view(k, {6, 1, 8}), same, 6),
            "segment_attention: k is f32[6, 1, 8], q is f32[6, 2, 8]");
  EXPECT_EQ(attention(same, {DType::kF16, {6, 2, 8}, q.data()}, 6),
            "segment_attention: v is f16[6, 2, 8], q is f32[6, 2, 8]");
  for (const std::int64_t segment : {-1, 0, 4, 12}) {
    EXPECT_EQ(attention(same, same, segment), "segment_attention: segment is " + std::to_string(segment) +
                                                  ", expected a divisor of the rows of q, f32[6, 2, 8]");
  }
}

}  // namespace
}  // namespace tessera::testing
