#include "models/qwen3vl/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <utility>

#include "models/qwen3vl/weights.h"
#include "quant/half.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/qwen3vl/golden_case.h"
#include "tests/ops/blocks.h"

namespace tessera::testing {
namespace {

using qwen3vl::Model;
using qwen3vl::PictureFeatures;
using qwen3vl::Session;

class SessionTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const Model> model() {
    static const auto loaded = Model::load(kCase.model_folder(), {.threads = 2});
    return loaded;
  }
  static Session session(std::int64_t context = 256, DType cache = DType::kF32) {
    return Session(model(), {.threads = 2, .context = context, .chunk = 16, .cache_dtype = cache});
  }
  std::vector<PictureFeatures> encode(Session& s) const {
    std::vector<PictureFeatures> pictures;
    for (const Image& image : kCase.images(json_))
      pictures.push_back(*s.encode(preprocess_image(image, model()->preprocess())));
    return pictures;
  }

  static inline const GoldenCase kCase{"shapes-vl", "one"};
  const nlohmann::json json_ = kCase.json();
  const std::vector<std::int32_t> ids_ = json_.at("prompt_token_ids").get<std::vector<std::int32_t>>();
};

// Raises the flag when a given step has ended.
class CancelAt : public StepObserver {
 public:
  CancelAt(std::atomic<bool>& flag, int step) : flag_(flag), step_(step) {}
  void step_done(int step, std::span<const TensorView>, const TensorView&) noexcept override {
    if (step == step_) flag_ = true;
  }

 private:
  std::atomic<bool>& flag_;
  int step_;
};

TEST_F(SessionTest, TakesAPromptAtOnceForTheLargestChunk) {
  Session s(model(), {.threads = 2, .context = 256, .chunk = std::numeric_limits<std::int64_t>::max()});
  EXPECT_EQ(s.chunk_count(200), 1);
}

TEST_F(SessionTest, CancelledWorkLeavesTheSessionAsItWas) {
  Session s = session();
  const auto pictures = encode(s);
  const auto logits = s.prefill(ids_, pictures);
  const std::vector<float> expected(logits.begin(), logits.end());
  s.clear();

  for (const int step : {0, 7, 20}) {
    std::atomic<bool> cancel{false};
    CancelAt observer(cancel, step);
    EXPECT_FALSE(
        s.encode(preprocess_image(kCase.images(json_)[0], model()->preprocess()), {&cancel, &observer}));
    cancel = false;
    EXPECT_TRUE(s.prefill(ids_, pictures, {&cancel, &observer}).empty());
    EXPECT_EQ(s.length(), 0);
  }
  const auto again = s.prefill(ids_, pictures);
  EXPECT_EQ(std::memcmp(again.data(), expected.data(), expected.size() * sizeof(float)), 0);
}

TEST_F(SessionTest, TurnsThatReuseTheCacheEqualOneLongPrompt) {
  Session whole = session(), turns = session();
  const auto pictures = encode(whole);
  const auto expected = whole.prefill(ids_, pictures);
  const std::span<const std::int32_t> ids(ids_);
  const std::size_t first = ids.size() - 5;
  turns.prefill(ids.first(first), pictures);
  const auto got = turns.prefill(ids.subspan(first));
  EXPECT_EQ(turns.length(), whole.length());
  expect_golden(got.data(), {expected.begin(), expected.end()}, "logits after two prefills");
}

TEST_F(SessionTest, TokensBeyondTheContextAreRefusedWithNumbers) {
  Session s = session(static_cast<std::int64_t>(ids_.size()));
  const auto pictures = encode(s);
  std::vector<std::int32_t> longer = ids_;
  longer.push_back(ids_.back());
  EXPECT_TESSERA_ERROR(s.prefill(longer, pictures), kInput, "prompt",
                       std::to_string(longer.size()) + " tokens");
  EXPECT_EQ(s.length(), 0);
  s.prefill(ids_, pictures);
  EXPECT_EQ(s.remaining(), 0);
  EXPECT_TESSERA_ERROR(s.decode(1), kInput, "does not fit the context");
  EXPECT_EQ(s.length(), s.context());
}

TEST_F(SessionTest, PlaceholdersAndPicturesMustAgree) {
  Session s = session();
  const auto pictures = encode(s);
  EXPECT_TESSERA_ERROR(s.prefill(ids_), kInput, "image");
  const std::vector<PictureFeatures> twice{pictures[0], pictures[0]};
  EXPECT_TESSERA_ERROR(s.prefill(ids_, twice), kInput, "image");
  EXPECT_TESSERA_ERROR(s.prefill({}, {}), kInput, "prompt", "empty");
}

TEST_F(SessionTest, DecodingPlansOnce) {
  Session s = session();
  s.prefill(ids_, encode(s));
  s.decode(1);
  const auto plan = s.plan();
  s.decode(2);
  EXPECT_EQ(s.plan(), plan);
}

TEST_F(SessionTest, AGeneratedPlaceholderIsATokenLikeAnyOther) {
  Session s = session();
  s.prefill(ids_, encode(s));
  const std::int64_t before = s.length();
  EXPECT_EQ(static_cast<std::int64_t>(s.decode(model()->config().image_token_id).size()),
            model()->config().text.vocab_size);
  EXPECT_EQ(s.length(), before + 1);
}

TEST_F(SessionTest, HalfPrecisionCacheStaysClose) {
  Session exact = session();
  const auto pictures = encode(exact);
  const auto expected = exact.prefill(ids_, pictures);
  for (const auto& [type, bound] : {std::pair{DType::kF16, 2e-2}, {DType::kBF16, 1e-1}}) {
    Session half = session(256, type);
    const auto got = half.prefill(ids_, pictures);
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(got[i], expected[i], bound) << i;
  }
}

TEST_F(SessionTest, CacheIsOfBf16WhereTheCpuMultipliesIt) {
  const Cpu cpu = Cpu::detect();
  EXPECT_EQ(qwen3vl::default_cache_dtype(cpu.limited_to(IsaLevel::kAvx512Vnni)), DType::kF16);
  if (cpu.has(IsaLevel::kAvx512Bf16)) {
    EXPECT_EQ(qwen3vl::default_cache_dtype(cpu), DType::kBF16);
  }
  const qwen3vl::SessionOptions options{.context = 64};
  Session unsaid(model(), options), said = session(64, qwen3vl::default_cache_dtype(options.cpu));
  const auto a = unsaid.prefill({{5, 600, 31}}), b = said.prefill({{5, 600, 31}});
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

TEST_F(SessionTest, BlockCacheStaysClose) {
  Session exact = session(), blocks = session(256, DType::kQ8_0);
  const auto pictures = encode(exact);
  const auto expected = exact.prefill(ids_, pictures);
  const auto got = blocks.prefill(ids_, pictures);
  const auto greatest = [](std::span<const float> x) {
    return std::max_element(x.begin(), x.end()) - x.begin();
  };
  EXPECT_EQ(greatest(got), greatest(expected));
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(got[i], expected[i], 2e-1) << i;
}

TEST_F(SessionTest, ChunksAndThreadsDoNotChangeWhatACacheOfAnyTypeGives) {
  Session first = session();
  const auto pictures = encode(first);
  for (const DType type : {DType::kF16, DType::kBF16, DType::kQ8_0}) {
    const auto logits = [&](int threads, std::int64_t chunk) {
      Session s(model(), {.threads = threads, .context = 256, .chunk = chunk, .cache_dtype = type});
      const auto prompt = s.prefill(ids_, pictures);
      std::vector<float> all(prompt.begin(), prompt.end());
      for (const std::int32_t id : {5, 600, 31}) {
        const auto next = s.decode(id);
        all.insert(all.end(), next.begin(), next.end());
      }
      return all;
    };
    const std::vector<float> expected = logits(1, 512);
    for (const auto& [threads, chunk] : {std::pair<int, std::int64_t>{1, 1}, {2, 7}, {3, 16}, {2, 512}}) {
      const std::vector<float> got = logits(threads, chunk);
      ASSERT_EQ(std::memcmp(got.data(), expected.data(), expected.size() * sizeof(float)), 0)
          << info(type).name << ", " << threads << " threads, chunk " << chunk;
    }
  }
}

TEST_F(SessionTest, OptionsOutOfRangeAreRefused) {
  const auto make = [](qwen3vl::SessionOptions options) { Session(model(), options); };
  EXPECT_TESSERA_ERROR(make({.threads = 0}), kUsage, "threads");
  EXPECT_TESSERA_ERROR(make({.context = 0}), kUsage, "context", "1 to 2048");
  EXPECT_TESSERA_ERROR(make({.context = 2049}), kUsage, "context");
  EXPECT_TESSERA_ERROR(make({.context = 16, .chunk = 0}), kUsage, "chunk");
  EXPECT_TESSERA_ERROR(make({.context = 16, .cache_dtype = DType::kI32}), kUsage, "i32");
  EXPECT_TESSERA_ERROR(make({.context = 16, .cache_dtype = DType::kQ4_0}), kUsage,
                       "cache type: not supported (got q4_0, expected f16, bf16, q8_0 or f32)");
  qwen3vl::TextConfig text = model()->config().text;
  text.head_dim = 80;
  EXPECT_TESSERA_ERROR(
      qwen3vl::cache_bytes(text, 16, DType::kQ8_0), kUsage,
      "cache type: q8_0 does not fit this model (got head_dim 80, expected a multiple of 32)");
}

// The model with NaN in the first element of a bf16 tensor, or the first scale if all matrices of the text
// model are q8_0. `sound` must outlive it.
std::shared_ptr<const Model> damaged_model(const Checkpoint& sound, const qwen3vl::Config& config,
                                           const std::string& damaged, bool quantized = false) {
  std::vector<Buffer> memory;
  std::vector<Checkpoint::Entry> entries(sound.entries().begin(), sound.entries().end());
  const auto copy = [&](Checkpoint::Entry& entry, const void* bytes, std::size_t size, DType dtype) {
    Buffer& buffer = memory.emplace_back(Buffer::allocate(size));
    std::memcpy(buffer.data(), bytes, size);
    entry.bytes = {buffer.data(), buffer.size()};
    entry.view = TensorView(dtype, entry.shape, buffer.data());
    return buffer.data();
  };
  for (Checkpoint::Entry& entry : entries) {
    if (quantized && entry.name.find("language_model.layers") != std::string::npos &&
        entry.shape.rank() == 2) {
      std::vector<float> values(static_cast<std::size_t>(entry.shape.elements()));
      for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint16_t bits;
        std::memcpy(&bits, entry.bytes.data() + 2 * i, 2);
        values[i] = quant::bf16_to_f32(bits);
      }
      const auto w = BlockWeight::encoded(DType::kQ8_0, values, entry.shape[0], entry.shape[1]);
      copy(entry, w.bytes.data(), w.bytes.size(), DType::kQ8_0);
    }
    if (entry.name != damaged) continue;
    std::byte* const bytes = copy(entry, entry.bytes.data(), entry.bytes.size(), entry.view->dtype);
    bytes[0] = std::byte{0xC0};  // 0x7FC0: NaN in bf16 and in f16
    bytes[1] = std::byte{0x7F};
  }
  const auto checkpoint = std::make_shared<const Checkpoint>("damaged", std::move(memory), std::move(entries),
                                                             std::vector<std::string>{});
  return Model::from_checkpoint(checkpoint, config, {.threads = 1});
}

TEST_F(SessionTest, NotANumberInAWeightNamesTheOperation) {
  const auto sound = open_checkpoint(kCase.model_folder());
  const std::string layer = "model.language_model.layers.2.";
  const auto expect = [&](const std::string& damaged, bool quantized, std::size_t tokens,
                          const std::string& place) {
    const auto text = damaged_model(*sound, model()->config(), layer + damaged, quantized);
    EXPECT_TESSERA_ERROR(
        Session(text, {.threads = 1, .context = 64}).prefill(std::vector<std::int32_t>(tokens, 5)), kModel,
        "damaged", place);
  };
  expect("mlp.down_proj.weight", false, 3, "layers.2.output (matmul)");
  expect("mlp.down_proj.weight", true, 3, "layers.2.output (matmul)");
  for (const std::size_t tokens : {1, 3}) {
    expect("mlp.up_proj.weight", false, tokens, "layers.2.mlp (matmul)");
    expect("mlp.up_proj.weight", true, tokens, "layers.2.mlp (matmul)");
  }
  const auto vision = damaged_model(*sound, model()->config(), "model.visual.blocks.3.attn.qkv.weight");
  const PixelValues pixels = preprocess_image(kCase.images(json_)[0], model()->preprocess());
  EXPECT_TESSERA_ERROR(Session(vision, {.threads = 1, .context = 64}).encode(pixels), kModel, "damaged",
                       "blocks.3.attn (matmul)");
}

TEST_F(SessionTest, RefusesPixelsThatDoNotFitAndFeaturesOfAnotherModel) {
  Session s = session();
  const PixelValues good = preprocess_image(kCase.images(json_)[0], model()->preprocess());
  PixelValues pixels = good;
  pixels.samples.pop_back();
  EXPECT_TESSERA_ERROR(s.encode(pixels), kUsage, "pixels", "36863 samples of 1 frames");
  EXPECT_TESSERA_ERROR(s.encode_budget(pixels), kUsage, "pixels");
  pixels = good;
  pixels.frames = 0;
  EXPECT_TESSERA_ERROR(s.encode(pixels), kUsage, "pixels");
  pixels = good;
  pixels.grid.t = 2;
  EXPECT_TESSERA_ERROR(s.encode(pixels), kUsage, "pixels");

  qwen3vl::VisionConfig other = model()->config().vision;
  other.out_hidden_size /= 2;
  const Shape shape = feature_shape(other, good.grid);
  const PictureFeatures narrow(other, good.grid,
                               std::vector<float>(static_cast<std::size_t>(shape.elements())));
  EXPECT_TESSERA_ERROR(s.prefill(ids_, {&narrow, 1}), kUsage, "pictures", "another model");
}

// Bytes of files below `folder` that this process has mapped and in memory.
std::size_t resident_bytes(const std::string& folder) {
  std::ifstream maps("/proc/self/smaps");
  std::size_t bytes = 0;
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    const bool header = line.find('-') < line.find(' ');  // "55d0…-55d1… r--p … path"
    if (header) ours = line.find(folder) != std::string::npos;
    std::istringstream words(line);
    std::string key;
    std::size_t kib = 0;
    if (ours && words >> key >> kib && key == "Rss:") bytes += kib * 1024;
  }
  return bytes;
}

TEST_F(SessionTest, LoadingGivesTheFilesPagesBack) {
  std::shared_ptr<const Checkpoint> checkpoint = open_checkpoint(kCase.model_folder());
  const qwen3vl::Config config = model()->config();
  std::size_t all = 0;
  unsigned sum = 0;
  for (const Checkpoint::Entry& entry : checkpoint->entries()) {
    all += entry.bytes.size();
    for (std::size_t i = 0; i < entry.bytes.size(); i += 512) sum += static_cast<unsigned>(entry.bytes[i]);
  }
  EXPECT_NE(sum, 0u);
  const std::string folder = std::filesystem::canonical(kCase.model_folder()).string();
  EXPECT_GE(resident_bytes(folder), all);
  const auto loaded = Model::from_checkpoint(checkpoint, config, {.threads = 2});
  EXPECT_LT(resident_bytes(folder), std::size_t{256} << 10);  // the listing of tensors
  EXPECT_GE(loaded->weight_bytes(), all);
}

TEST_F(SessionTest, MemoryIsSaidBeforeItIsTaken) {
  Session s = session();
  const auto grey = [](int side) {
    const Image image{side, side, std::vector<std::uint8_t>(static_cast<std::size_t>(side * side * 3)), {}};
    return preprocess_frames({&image, 1}, model()->preprocess(), Normalization::kImage);
  };
  const qwen3vl::EncodeBudget small = s.encode_budget(grey(64)), large = s.encode_budget(grey(256));
  EXPECT_GT(large.bytes, small.bytes);
  // By the plans' arithmetic, which attention makes grow faster than the number of patches.
  EXPECT_GT(large.seconds, 16 * small.seconds);
  EXPECT_GT(small.seconds, 0);
  std::atomic<bool> cancel{true};
  EXPECT_EQ(session().encode_budget(grey(64), {&cancel}).seconds, 0);
  EXPECT_EQ(qwen3vl::cache_bytes(model()->config().text, 100, DType::kF16), 4u * 2 * 100 * 2 * 128 * 2);
  // In tiles of 32 rows.
  EXPECT_EQ(qwen3vl::cache_bytes(model()->config().text, 100, DType::kQ8_0),
            4u * 2 * 128 * 2 * (128 / 32 * 34));
  EXPECT_TESSERA_ERROR(Model::load(kCase.model_folder(), {.threads = 1, .extra_bytes = std::size_t{1} << 60}),
                       kResource, "memory", "available");
}

}  // namespace
}  // namespace tessera::testing
