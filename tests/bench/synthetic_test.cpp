#include "bench/synthetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

#include "bench/random_fill.h"
#include "bench/synthetic_folder.h"
#include "models/files/json.h"
#include "models/qwen3vl/weights.h"
#include "models/text/tokenizer.h"
#include "ops/matmul/pack.h"
#include "quant/formats.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"

namespace tessera::testing {
namespace {

using bench::SyntheticTensor;

constexpr DType kFormats[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                              DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                              DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

std::vector<float> decoded(const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.shape.elements()));
  quant::find_format(view.dtype)->decode_row(view.as<std::uint8_t>(), view.shape.elements(), values.data());
  return values;
}

double deviation(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(RandomFill, GivesEveryFormatTheDeviationAskedFor) {
  for (const DType dtype : kFormats) {
    const Shape shape{3000, 768};  // more than a period
    std::vector<std::byte> bytes(static_cast<std::size_t>(dense_bytes(dtype, shape)) + 1, std::byte{0x5A});
    const TensorView view(dtype, shape, bytes.data());
    bench::RandomFill().normal(view, 0.5f);
    EXPECT_EQ(bytes.back(), std::byte{0x5A}) << info(dtype).name;
    const std::vector<float> values = decoded(view);
    EXPECT_NEAR(deviation(values), 0.5, 0.02) << info(dtype).name;
    for (int row = 1; row < 3000; ++row) {
      ASSERT_FALSE(std::equal(values.begin(), values.begin() + 768, values.begin() + row * 768)) << row;
    }
  }
  std::int32_t number = 0;
  EXPECT_TESSERA_ERROR(bench::RandomFill().normal(TensorView(DType::kI32, {1}, &number), 1), kUsage, "i32");
}

// Panels of bf16 take two inputs at a time: an odd one has a zero for partner.
TEST(SyntheticCheckpoint, LoadsMatricesOfAnOddNumberOfInputs) {
  auto config = *bench::synthetic_config("tiny");
  config.text.intermediate_size = 177;
  for (const char* type : {"bf16", "f16", "f32"}) {
    const auto checkpoint = bench::synthetic_checkpoint("tiny", config, type, 0);
    const auto weights = qwen3vl::load_weights(checkpoint, config, {.threads = 2});
    const std::string name = "model.language_model.layers.1.mlp.down_proj.weight";
    const TensorView source = *checkpoint->find(name);
    const std::vector<float> expected = decoded(source);
    const TensorView& packed = weights.text.layers[1].down_proj;
    std::vector<float> row(177);
    for (std::int64_t i = 0; i < source.shape[0]; ++i) {
      ops::unpack_row(packed, i, row.data());
      ASSERT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + i * 177)) << type << " row " << i;
    }
  }
}

TEST(SyntheticCheckpoint, GivesEachTensorItsFormat) {
  struct Case {
    const char* type;
    DType table, matrix, tower;
  };
  using enum DType;
  for (const Case& c : {Case{"bf16", kBF16, kBF16, kBF16},
                        {"f32", kF32, kF32, kF32},
                        {"q8_0", kQ8_0, kQ8_0, kQ8_0},
                        {"q4_0", kQ6_K, kQ4_0, kQ8_0},
                        {"q4_1", kQ6_K, kQ4_1, kQ8_0},
                        {"q4_k", kQ4_K, kQ4_K, kQ8_0},
                        {"q4_k_m", kQ6_K, kQ4_K, kQ8_0},
                        {"q6_k", kQ6_K, kQ6_K, kQ8_0}}) {
    const auto config = *bench::synthetic_config("tiny");
    const auto checkpoint = bench::synthetic_checkpoint("tiny", config, c.type, 0);
    const auto dtype = [&](const std::string& name) { return checkpoint->find(name)->dtype; };
    const std::string layer = "model.language_model.layers.1.", tower = "model.visual.";
    const bool blocks = info(c.matrix).block_elems > 1;
    EXPECT_EQ(dtype("model.language_model.embed_tokens.weight"), c.table);
    EXPECT_EQ(dtype(layer + "self_attn.q_proj.weight"), c.matrix);
    EXPECT_EQ(dtype(layer + "mlp.down_proj.weight"), c.matrix);
    EXPECT_EQ(dtype(tower + "blocks.0.attn.qkv.weight"), c.tower);
    for (const char* name :
         {"blocks.0.norm1.weight", "blocks.0.attn.qkv.bias", "pos_embed.weight", "patch_embed.proj.weight"}) {
      EXPECT_EQ(dtype(tower + name), blocks ? kF32 : c.matrix) << name;
    }
  }
}

// The 8B tower has rows of 4304 = 16 * 269 elements.
TEST(SyntheticCheckpoint, RowsThatBlocksDoNotDivideGetAFormatThatFits) {
  auto config = *bench::synthetic_config("tiny");
  config.vision.intermediate_size = 4304;
  config.text.intermediate_size = 96;
  const auto checkpoint = bench::synthetic_checkpoint("odd", config, "q4_k", 0);
  EXPECT_EQ(checkpoint->find("model.visual.blocks.0.mlp.linear_fc2.weight")->dtype, DType::kF16);
  EXPECT_EQ(checkpoint->find("model.language_model.layers.0.mlp.down_proj.weight")->dtype, DType::kQ5_0);
}

TEST(SyntheticCheckpoint, EveryTensorHoldsWholeBlocksOfGoodNumbers) {
  auto config = *bench::synthetic_config("tiny");
  config.text.intermediate_size = 800;  // 25 blocks of 32: the buffers wrap at odd places
  for (const char* type : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q4_k", "q5_k", "q6_k", "q5_k_m"}) {
    const auto checkpoint = bench::synthetic_checkpoint("tiny", config, type, 0);
    const std::vector<SyntheticTensor> tensors = bench::synthetic_tensors(config);
    ASSERT_EQ(checkpoint->entries().size(), tensors.size());
    for (const SyntheticTensor& tensor : tensors) {
      const TensorView* view = checkpoint->find(tensor.name);
      ASSERT_NE(view, nullptr) << tensor.name;
      EXPECT_EQ(view->shape, tensor.shape);
      const std::vector<float> values = decoded(*view);
      if (tensor.is_vector()) {
        for (const float value : values) ASSERT_EQ(value, 1) << tensor.name;
      } else {
        ASSERT_NEAR(deviation(values), 0.02, 0.003) << type << " " << tensor.name;
      }
    }
  }
}

TEST(SyntheticCheckpoint, SaysWhenMemoryIsShort) {
  EXPECT_TESSERA_ERROR(
      bench::synthetic_checkpoint("big", *bench::synthetic_config("tiny"), "q4_0", std::size_t{1} << 60),
      kResource, "big", "memory", "available");
}

void expect_same_config(const qwen3vl::Config& got, const qwen3vl::Config& want) {
  const qwen3vl::TextConfig &a = got.text, &b = want.text;
  EXPECT_EQ((std::vector<std::int64_t>{a.vocab_size, a.hidden_size, a.intermediate_size, a.num_hidden_layers,
                                       a.num_attention_heads, a.num_key_value_heads, a.head_dim,
                                       a.max_position_embeddings}),
            (std::vector<std::int64_t>{b.vocab_size, b.hidden_size, b.intermediate_size, b.num_hidden_layers,
                                       b.num_attention_heads, b.num_key_value_heads, b.head_dim,
                                       b.max_position_embeddings}));
  EXPECT_EQ(a.rms_norm_eps, b.rms_norm_eps);
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.mrope_section, b.mrope_section);
  EXPECT_EQ(a.mrope_interleaved, b.mrope_interleaved);
  const qwen3vl::VisionConfig &v = got.vision, &w = want.vision;
  EXPECT_EQ((std::vector<std::int64_t>{v.depth, v.hidden_size, v.intermediate_size, v.num_heads,
                                       v.in_channels, v.patch_size, v.temporal_patch_size,
                                       v.spatial_merge_size, v.out_hidden_size, v.num_position_embeddings}),
            (std::vector<std::int64_t>{w.depth, w.hidden_size, w.intermediate_size, w.num_heads,
                                       w.in_channels, w.patch_size, w.temporal_patch_size,
                                       w.spatial_merge_size, w.out_hidden_size, w.num_position_embeddings}));
  EXPECT_EQ(v.deepstack_visual_indexes, w.deepstack_visual_indexes);
  EXPECT_EQ(got.tie_word_embeddings, want.tie_word_embeddings);
  EXPECT_EQ((std::vector{got.image_token_id, got.video_token_id, got.vision_start_token_id,
                         got.vision_end_token_id}),
            (std::vector{want.image_token_id, want.video_token_id, want.vision_start_token_id,
                         want.vision_end_token_id}));
  EXPECT_EQ(got.eos_token_ids, want.eos_token_ids);
}

// spec/qwen3-vl.md §1.1.
TEST(SyntheticConfig, PublishedSizesHaveThePublishedTokens) {
  for (const char* size : {"2b", "4b", "8b"}) {
    const auto config = *bench::synthetic_config(size);
    EXPECT_EQ(config.image_token_id, 151655);
    EXPECT_EQ(config.video_token_id, 151656);
    EXPECT_EQ(config.vision_start_token_id, 151652);
    EXPECT_EQ(config.vision_end_token_id, 151653);
    EXPECT_EQ(config.eos_token_ids, std::vector<std::int32_t>{151645});
  }
}

TEST(SyntheticFolder, SaysWhatTheConfigSays) {
  for (const bool tied : {true, false}) {
    auto config = *bench::synthetic_config("tiny");
    config.tie_word_embeddings = tied;
    const TempDir folder;
    bench::write_synthetic_folder(folder.path(), config, {});
    expect_same_config(qwen3vl::config_from_folder(folder.path()), config);
    EXPECT_EQ(qwen3vl::preprocess_config_from_folder(folder.path(), config.vision).max_pixels, 16777216);
    const Tokenizer tokenizer = Tokenizer::from_folder(folder.path());
    EXPECT_EQ(tokenizer.require(kControlTokens).back(), config.video_token_id);
    const std::string text = "Zw\xC3\xB6lf \xF0\x9F\x90\x8A\n\t\x01";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, SpecialTokens::kAsText), SkipSpecial::kNo), text);
  }
}

TEST(SyntheticFolder, ShardsHoldEveryTensor) {
  const auto config = *bench::synthetic_config("tiny");
  const std::vector<SyntheticTensor> tensors = bench::synthetic_tensors(config);
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const std::uint64_t limit : {bench::kShardBytes, std::uint64_t{1} << 20, std::uint64_t{1}}) {
      const TempDir folder;
      bench::write_synthetic_folder(folder.path(), config, {.dtype = dtype, .shard_bytes = limit});
      std::size_t files = 0;
      for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
        files += file.path().extension() == ".safetensors";
        EXPECT_EQ(file.path().string().find("partial"), std::string::npos);
      }
      EXPECT_EQ(files == 1, limit == bench::kShardBytes);
      EXPECT_EQ(files == tensors.size(), limit == 1);
      EXPECT_EQ(std::filesystem::exists(folder / "model.safetensors"), files == 1);
      EXPECT_EQ(std::filesystem::exists(folder / "model.safetensors.index.json"), files > 1);
      const auto checkpoint = open_checkpoint(folder.path());
      EXPECT_TRUE(checkpoint->warnings().empty());
      ASSERT_EQ(checkpoint->entries().size(), tensors.size());
      for (const SyntheticTensor& tensor : tensors) {
        const TensorView* view = checkpoint->find(tensor.name);
        ASSERT_NE(view, nullptr) << tensor.name;
        EXPECT_EQ(view->dtype, dtype);
        EXPECT_EQ(view->shape, tensor.shape);
        const std::vector<float> values = decoded(*view);
        ASSERT_NEAR(deviation(values), tensor.is_vector() ? 1 : 0.02, 1e-3) << tensor.name;
      }
    }
  }
}

TEST(SyntheticFolder, RefusesAFolderThatHoldsSomething) {
  const TempDir folder;
  folder.write("a", "b");
  EXPECT_TESSERA_ERROR(bench::write_synthetic_folder(folder.path(), *bench::synthetic_config("tiny"), {}),
                       kOutput, folder.path().c_str(), "is not empty");
  EXPECT_TESSERA_ERROR(bench::write_synthetic_folder(folder / "a", *bench::synthetic_config("tiny"), {}),
                       kOutput, (folder / "a").c_str());
  EXPECT_TESSERA_ERROR(bench::write_synthetic_folder(folder / "x/y", *bench::synthetic_config("tiny"), {}),
                       kOutput, "cannot be made");
}

TEST(SyntheticFolder, RefusesADiskThatIsTooSmall) {
  auto config = *bench::synthetic_config("tiny");
  config.text.intermediate_size = std::int64_t{1} << 44;  // 2^55 bytes or more
  const TempDir folder;
  EXPECT_TESSERA_ERROR(bench::write_synthetic_folder(folder / "new", config, {}), kOutput,
                       (folder / "new").c_str(), "too little free space");
  EXPECT_FALSE(std::filesystem::exists(folder / "new"));
}

}  // namespace
}  // namespace tessera::testing
