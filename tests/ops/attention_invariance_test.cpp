// What must not change the result: chunks, threads, neighbours, memory; and how much memory attention takes.
#include <cstring>

#include "tests/ops/attention_test.h"

namespace tessera::testing {
namespace {

// Attention of x over a cache that starts full of NaN and is filled with chunks of up to `chunk` tokens, from
// `past` rows on that were there before.
std::vector<float> run_in_chunks(const AttentionCase& x, std::int64_t chunk, std::int64_t past, DType type,
                                 const Cpu& cpu) {
  const Shape cache{x.cache, x.kv_heads, x.dim};
  const TensorDesc key_desc = ops::cache_desc(type, ops::CachePart::kKeys, cache);
  const TensorDesc value_desc = ops::cache_desc(type, ops::CachePart::kValues, cache);
  std::vector<std::byte> k(ops::cache_bytes(key_desc), std::byte{0xFF});
  std::vector<std::byte> v(ops::cache_bytes(value_desc), std::byte{0xFF});
  std::vector<float> all;
  const auto step = [&](std::int64_t at, std::int64_t count, bool wanted) {
    const std::vector<std::int32_t> rows_before{static_cast<std::int32_t>(at)};
    const Shape rows{count, x.kv_heads, x.dim};
    const std::int64_t query = wanted ? at - past : 0;
    const auto y = run(
        [&](Graph& g) {
          const Tensor position = g.constant(view(rows_before, {1}));
          const Tensor keys =
              ops::append_rows(g, TensorView(key_desc, k.data()),
                               TensorView(DType::kF32, rows, x.k.data() + at * x.kv_heads * x.dim), position);
          const Tensor values =
              ops::append_rows(g, TensorView(value_desc, v.data()),
                               TensorView(DType::kF32, rows, x.v.data() + at * x.kv_heads * x.dim), position);
          const TensorView q(DType::kF32, {wanted ? count : 0, x.heads, x.dim},
                             x.q.data() + query * x.heads * x.dim);
          return ops::causal_attention(g, q, keys, values, position, x.scale);
        },
        cpu, 1);
    all.insert(all.end(), y.begin(), y.end());
  };
  if (past > 0) step(0, past, false);
  for (std::int64_t at = past; at < past + x.tokens; at += chunk) {
    step(at, std::min(chunk, past + x.tokens - at), true);
  }
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(AttentionInvariance, ChunksOfAnySizeGiveTheSameBits) {
  for (const std::int64_t past : {0, 61}) {
    for (const std::int64_t dim : {64, 72}) {
      const AttentionCase x(150, 6, 2, dim, past + 155);
      for (const DType type : kCacheTypes) {
        if (dim % info(type).block_elems != 0) continue;
        for (const Cpu& cpu : cpus()) {
          SCOPED_TRACE(std::string(name(cpu.best())) + " d " + std::to_string(dim) + " past " +
                       std::to_string(past));
          const auto whole = run_in_chunks(x, x.tokens, past, type, cpu);
          for (const float value : whole) ASSERT_TRUE(std::isfinite(value));
          for (const std::int64_t chunk : {2, 4, 7, 64, 148}) {  // no last chunk of one token: see ops.h
            ASSERT_TRUE(same_bits(run_in_chunks(x, chunk, past, type, cpu), whole)) << chunk;
          }
        }
      }
    }
  }
}

TEST(AttentionInvariance, ThreadsDoNotChangeBits) {
  const AttentionCase x(140, 6, 2, 96, 200);
  for (const DType type : {DType::kF16, DType::kBF16, DType::kQ8_0}) {
    for (const Cpu& cpu : cpus()) {
      const auto one = run_causal(x, 60, type, cpu, 1);
      for (const int threads : {2, 3, 5}) {
        EXPECT_TRUE(same_bits(run_causal(x, 60, type, cpu, threads), one)) << threads;
      }
    }
  }
}

// The same keys for one head among others, with other group sizes: rows of other tiles.
TEST(AttentionInvariance, NeighboursDoNotChangeBits) {
  AttentionCase wide(40, 7, 1, 64, 100), narrow(40, 1, 1, 64, 100);
  for (std::size_t t = 0; t < 40; ++t) {
    std::copy_n(wide.q.begin() + static_cast<std::ptrdiff_t>((t * 7 + 4) * 64), 64,
                narrow.q.begin() + static_cast<std::ptrdiff_t>(t * 64));
  }
  for (const Cpu& cpu : cpus()) {
    const auto all = run_causal(wide, 60, DType::kF32, cpu), alone = run_causal(narrow, 60, DType::kF32, cpu);
    for (std::size_t t = 0; t < 40; ++t) {
      ASSERT_EQ(std::memcmp(&all[(t * 7 + 4) * 64], &alone[t * 64], 64 * sizeof(float)), 0) << t;
    }
  }
}

// A segment of its own is what causal attention of its last row sees, over keys and values rounded as
// the segment rounds them.
TEST(AttentionInvariance, LastCausalRowEqualsTheSegment) {
  const AttentionCase x(100, 2, 2, 80, 100);
  const Shape shape{100, 2, 80};
  for (const Cpu& cpu : cpus()) {
    const auto full = run(
        [&](Graph& g) {
          return ops::segment_attention(g, view(x.q, shape), view(x.k, shape), view(x.v, shape), 100,
                                        x.scale);
        },
        cpu);
    const auto causal = run_causal(x, 0, cpu.has(IsaLevel::kAvx512Bf16) ? DType::kBF16 : DType::kF32, cpu);
    EXPECT_EQ(std::memcmp(&full[99 * 160], &causal[99 * 160], 160 * sizeof(float)), 0);
  }
}

TEST(AttentionInvariance, MayOverwriteTheQueries) {
  const AttentionCase x(70, 4, 2, 72, 90);
  const std::vector<float> weight(72, 1.0f);
  const std::vector<std::int32_t> past{20};
  const auto normed = [&](Graph& g) {
    return ops::rms_norm(g, view(x.q, {70, 4, 72}), view(weight, {72}), {});
  };
  for (const Cpu& cpu : cpus()) {
    const auto queries = run(normed, cpu);
    const auto attend = [&](Graph& g, const Operand& q) {
      return ops::causal_attention(g, q, view(x.k, {90, 2, 72}), view(x.v, {90, 2, 72}), view(past, {1}),
                                   x.scale);
    };
    Graph g;
    g.output(attend(g, normed(g)));
    EXPECT_LT(Plan::make(g, cpu).arena_bytes(), 2 * queries.size() * sizeof(float));
    EXPECT_EQ(run([&](Graph& h) { return attend(h, normed(h)); }, cpu),
              run(
                  [&](Graph& h) {
                    return attend(h, view(queries, {70, 4, 72}));
                  },
                  cpu));
  }
}

TEST(AttentionMemory, IsTheOutputAndAFixedWorkspace) {
  const std::size_t largest_workspace = std::size_t{1} << 20;
  for (const std::int64_t rows : {256, 8160}) {
    const std::vector<float> x(static_cast<std::size_t>(rows) * 16 * 64);
    Graph g;
    const TensorView heads = view(x, {rows, 16, 64});
    g.output(ops::segment_attention(g, heads, heads, heads, rows, 0.125f));
    for (const Cpu& cpu : cpus()) {
      const Plan plan = Plan::make(g, cpu);
      EXPECT_EQ(plan.arena_bytes(), x.size() * sizeof(float));
      EXPECT_LE(plan.workspace_bytes_per_thread(), largest_workspace);
    }
  }
  const std::vector<float> q(256), cache(2 * 256);
  const std::vector<std::int32_t> past{0};
  Graph g;
  g.output(ops::causal_attention(g, view(q, {1, 1, 256}), view(cache, {2, 1, 256}), view(cache, {2, 1, 256}),
                                 view(past, {1}), 1));
  EXPECT_LE(Plan::make(g, Cpu::from_environment()).workspace_bytes_per_thread(), largest_workspace);
}

}  // namespace
}  // namespace tessera::testing
