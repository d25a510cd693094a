// The kernels of attention whose units this machine may lack, against plain C++ in the place of these units.
#include "tests/ops/attention_test.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <string>

#include "ops/attention/kernels.h"
#include "tests/ops/emulated/emulated_test.h"
#include "tests/ops/emulated/units.h"

namespace tessera::testing {
namespace {

// Those that this CPU can run, for these structs of work.
std::vector<emulated::AttentionKernel> kernels(const std::set<std::string_view>& works) {
  const Cpu cpu = Cpu::from_environment();
  std::vector<emulated::AttentionKernel> all;
  for (const emulated::AttentionKernel& kernel : emulated::attention_kernels()) {
    if (works.contains(kernel.work) && cpu.has(level_of(kernel.base))) all.push_back(kernel);
  }
  return all;
}

DType cache_of(const emulated::AttentionKernel& kernel) {
  constexpr std::pair<std::string_view, DType> kTypes[] = {
      {"kF32", DType::kF32}, {"kF16", DType::kF16}, {"kBF16", DType::kBF16}, {"kQ8_0", DType::kQ8_0}};
  return std::ranges::find(kTypes, kernel.cache, &std::pair<std::string_view, DType>::first)->second;
}

TEST(EmulatedAttention, PrintsWhatIsEmulated) { print_emulated("attention", emulated::attention_kernels()); }

// Of `floats` floats, all NaN, with a guard behind them.
class Workspace {
 public:
  explicit Workspace(std::int64_t floats)
      : bytes_(static_cast<std::size_t>(floats) * sizeof(float)), memory_(Buffer::allocate(bytes_ + 64)) {
    std::fill_n(memory_.data(), bytes_ + 64, std::byte{0xFF});
  }
  ~Workspace() {
    EXPECT_FALSE(emulated::tiles_in_use());
    const std::span guard(memory_.data() + bytes_, 64);
    EXPECT_TRUE(std::ranges::all_of(guard, [](std::byte b) { return b == std::byte{0xFF}; }))
        << "written behind the workspace";
  }
  float* floats() const { return reinterpret_cast<float*>(memory_.data()); }

 private:
  std::size_t bytes_;
  Buffer memory_;
};

// All rows of x, whose heads share one key/value head, in one call.
std::vector<float> run_block(const emulated::AttentionKernel& kernel, const AttentionCase& x,
                             std::int64_t past, const TestCache& k, const TestCache& v) {
  std::vector<float> y(x.q.size());
  const Workspace workspace(ops::attention_workspace_floats(x.dim));
  const ops::AttentionBlock block{.q = x.q.data(),
                                  .y = y.data(),
                                  .k = reinterpret_cast<const std::byte*>(k.bytes.data()),
                                  .v = reinterpret_cast<const std::byte*>(v.bytes.data()),
                                  .q_stride = x.heads * x.dim,
                                  .q_head_stride = x.dim,
                                  .y_stride = x.heads * x.dim,
                                  .y_head_stride = x.dim,
                                  .k_stride = k.desc.strides[0],
                                  .v_stride = v.desc.strides[0],
                                  .positions = x.tokens,
                                  .heads = x.heads,
                                  .dim = x.dim,
                                  .visible = past + 1,
                                  .growth = 1,
                                  .keys = x.cache,
                                  .scale = x.scale,
                                  .workspace = workspace.floats()};
  kernel.run(&block);
  return y;
}
std::vector<float> run_block(const emulated::AttentionKernel& kernel, const AttentionCase& x,
                             std::int64_t past) {
  return run_block(kernel, x, past, TestCache(x, ops::CachePart::kKeys, cache_of(kernel)),
                   TestCache(x, ops::CachePart::kValues, cache_of(kernel)));
}

std::string place(const emulated::AttentionKernel& kernel, const AttentionCase& x, std::int64_t past) {
  return std::string(kernel.name) + " d " + std::to_string(x.dim) + " T " + std::to_string(x.tokens) + " H " +
         std::to_string(x.heads) + " past " + std::to_string(past);
}

void expect_block(const emulated::AttentionKernel& kernel, std::int64_t tokens, std::int64_t heads,
                  std::int64_t dim, std::int64_t past) {
  const DType type = cache_of(kernel);
  if (dim % info(type).block_elems != 0) return;
  const AttentionCase x(tokens, heads, 1, dim, past + tokens + 3);
  SCOPED_TRACE(place(kernel, x, past));
  expect_within(run_block(kernel, x, past), expected_causal(stored(x, type), past), bf16_block_rounding());
}

TEST(EmulatedAttention, OfBlocksMatchesDoubleForEveryTail) {
  for (const emulated::AttentionKernel& kernel : kernels({"AttentionBlock", "SegmentBlock"})) {
    for (const std::int64_t dim : {1, 32, 33, 40, 64, 72, 80, 96, 128, 256}) {
      expect_block(kernel, 17, 2, dim, 127);
    }
    for (const std::int64_t past : {0, 1, 100, 127, 128, 300}) {
      expect_block(kernel, 1, 1, 96, past);
      expect_block(kernel, 3, 4, 96, past);
      expect_block(kernel, 19, 5, 32, past);
    }
    for (const std::int64_t dim : {16, 64, 256}) {
      expect_block(kernel, ops::attention_rows(dim) / 4, 4, dim, 20);  // as many rows as a block may have
    }
  }
}

TEST(EmulatedAttention, OfBlocksGivesARowTheSameBitsAmongAnyOthers) {
  for (const emulated::AttentionKernel& kernel : kernels({"AttentionBlock", "SegmentBlock"})) {
    constexpr std::int64_t kTokens = 70, kHeads = 4, kDim = 96, kPast = 90;
    const AttentionCase all(kTokens, kHeads, 1, kDim, kPast + kTokens);
    const auto y = run_block(kernel, all, kPast);
    for (const auto& [first, tokens] : {std::pair{0, 1}, {0, 38}, {5, 9}, {37, 33}, {69, 1}}) {
      SCOPED_TRACE(std::string(kernel.name) + " from " + std::to_string(first));
      AttentionCase some(tokens, kHeads, 1, kDim, kPast + kTokens);
      const auto row = static_cast<std::ptrdiff_t>(kHeads * kDim);
      std::copy_n(all.q.begin() + first * row, tokens * row, some.q.begin());
      const auto part = run_block(kernel, some, kPast + first);
      EXPECT_EQ(std::memcmp(part.data(), y.data() + first * row, part.size() * sizeof(float)), 0);
    }
  }
}

TEST(EmulatedAttention, OfBlocksKeepsNaNFromRowsThatDoNotSeeIt) {
  for (const emulated::AttentionKernel& kernel : kernels({"AttentionBlock", "SegmentBlock"})) {
    constexpr std::int64_t kTokens = 60, kHeads = 4, kDim = 64, kPast = 100;
    const AttentionCase x(kTokens, kHeads, 1, kDim, kPast + kTokens);
    const DType type = cache_of(kernel);
    for (const std::int64_t bad : {101, 127, 128, 140}) {
      for (const bool in_key : {true, false}) {
        SCOPED_TRACE(std::string(kernel.name) + " at " + std::to_string(bad));
        TestCache k(x, ops::CachePart::kKeys, type), v(x, ops::CachePart::kValues, type);
        (in_key ? k : v).spoil(bad, 0);
        const auto y = run_block(kernel, x, kPast, k, v);
        const std::size_t hit_dims = in_key ? 64 : type == DType::kQ8_0 ? 32 : 1;
        for (std::size_t i = 0; i < y.size(); ++i) {
          const bool sees = kPast + static_cast<std::int64_t>(i / (kHeads * kDim)) >= bad;
          ASSERT_EQ(std::isnan(y[i]), sees && i % kDim < hit_dims) << i;
        }
      }
    }
  }
}

// One run of keys, whose blocks are merged here.
std::vector<float> run_decode(const emulated::AttentionKernel& kernel, const AttentionCase& x) {
  const DType type = cache_of(kernel);
  const TestCache k(x, ops::CachePart::kKeys, type), v(x, ops::CachePart::kValues, type);
  const std::int64_t blocks = (x.cache + ops::kDecodeKeys - 1) / ops::kDecodeKeys;
  const std::int64_t block_stride = ops::decode_partial_floats(x.dim), stride = blocks * block_stride;
  std::vector<float> partial(static_cast<std::size_t>(x.heads * stride), NAN), y;
  const Workspace workspace(ops::decode_workspace_floats(x.dim));
  const ops::DecodeRun decode{.q = x.q.data(),
                              .k = reinterpret_cast<const std::byte*>(k.bytes.data()),
                              .v = reinterpret_cast<const std::byte*>(v.bytes.data()),
                              .q_head_stride = x.dim,
                              .k_stride = k.desc.strides[0],
                              .v_stride = v.desc.strides[0],
                              .heads = x.heads,
                              .keys = x.cache,
                              .dim = x.dim,
                              .scale = x.scale,
                              .partial = partial.data(),
                              .partial_stride = stride,
                              .workspace = workspace.floats()};
  kernel.run(&decode);
  std::vector<float> factors(static_cast<std::size_t>(blocks));
  for (std::int64_t head = 0; head < x.heads; ++head) {
    y.resize(y.size() + static_cast<std::size_t>(x.dim));
    ops::merge_decoded_ref({.partials = partial.data() + head * stride,
                            .stride = block_stride,
                            .blocks = blocks,
                            .dim = x.dim,
                            .y = y.data() + head * x.dim,
                            .factors = factors.data()});
  }
  return y;
}

TEST(EmulatedAttention, OfOnePositionMatchesDoubleForEveryTail) {
  for (const emulated::AttentionKernel& kernel : kernels({"DecodeRun"})) {
    const DType type = cache_of(kernel);
    for (const std::int64_t dim : {1, 32, 33, 64, 72, 96, 128, 256}) {
      if (dim % info(type).block_elems != 0) continue;
      for (const std::int64_t keys : {1, 2, 15, 16, 17, 31, 33, 100, 255, 256, 257, 1024}) {
        const AttentionCase x(1, 7, 1, dim, keys);
        SCOPED_TRACE(place(kernel, x, keys - 1));
        expect_within(run_decode(kernel, x), expected_causal(stored(x, type), keys - 1),
                      type == DType::kQ8_0 ? code_rounding() : bf16_rounding());
      }
    }
  }
}

}  // namespace
}  // namespace tessera::testing
