// GGUF pairs with something wrong or missing in them. G21 … G29 are rows of reliability.md §3.2.
#include <cmath>

#include "models/qwen3vl/model.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/make_gguf.h"
#include "tests/models/qwen3vl/edit_gguf.h"

namespace tessera::testing {
namespace {

using qwen3vl::Model;
using qwen3vl::ModelFiles;
using qwen3vl::open_model_files;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kVision[] = "clip.vision.";

class GgufPairs : public ::testing::Test {
 protected:
  void SetUp() override { TESSERA_REQUIRE_SHARED("gguf/dense-bf16.gguf"); }

  static ModelFiles open(const DensePair& pair) { return open_model_files(pair.text, pair.vision); }
  static ModelFiles open_text(const std::function<void(EditedGguf&)>& edit) { return open(DensePair(edit)); }
  static ModelFiles open_vision(const std::function<void(EditedGguf&)>& edit) {
    return open(DensePair({}, edit));
  }
  static auto set(const std::string& key, const GgufValue& value) {
    return [=](EditedGguf& file) { file.metadata.set(key, value); };
  }
  static auto remove(const std::string& key) {
    return [=](EditedGguf& file) { file.metadata.remove(key); };
  }
  // A value whose type GgufValue has no function for: an array of `count` elements of zeros.
  static GgufValue zeros(GgufType element, std::size_t bytes, std::uint64_t count) {
    return GgufValue::parse(GgufType::kArray,
                            u32(static_cast<std::uint32_t>(element)) + u64(count) +
                                std::string(bytes * static_cast<std::size_t>(count), '\0'),
                            "", "");
  }
};

TEST_F(GgufPairs, TextNumbersAreChecked) {  // G21
  const std::pair<const char*, GgufValue> bad[] = {
      {"block_count", GgufValue::of_string("4")},
      {"block_count", GgufValue::of_u32(0)},
      {"block_count", GgufValue::of_u32(0xFFFFFFFF)},
      {"block_count", GgufValue::of_i32(-4)},
      {"block_count", GgufValue::of_f32(4)},
      {"context_length", GgufValue::of_u32(0)},
      {"context_length", GgufValue::of_u64(UINT64_MAX)},
      {"embedding_length", GgufValue::of_u32(0)},
      {"feed_forward_length", GgufValue::of_u32(1u << 31)},
      {"attention.head_count", GgufValue::of_u32(0)},
      {"attention.head_count_kv", GgufValue::of_u32(0)},
      {"attention.key_length", GgufValue::of_u32(0)},
      {"attention.layer_norm_rms_epsilon", GgufValue::of_f32(0)},
      {"attention.layer_norm_rms_epsilon", GgufValue::of_f32(NAN)},
      {"rope.freq_base", GgufValue::of_f32(0)},
      {"rope.freq_base", GgufValue::of_f32(INFINITY)},
      {"rope.dimension_sections", GgufValue::of_i32s(std::vector{24, 20})},
      {"rope.dimension_sections", GgufValue::of_i32s(std::vector{24, 20, 16, 4})},
      {"rope.dimension_sections", GgufValue::of_i32s(std::vector{24, 20, 21, 0})},
      {"rope.dimension_sections", GgufValue::of_i32s(std::vector{104, -20, -20, 0})},
  };
  for (const auto& [name, value] : bad) {
    SCOPED_TRACE(value.describe());
    const std::string key = std::string("qwen3vl.") + name;
    EXPECT_TESSERA_ERROR(open_text(set(key, value)), kModel, "/dense.gguf: ", key);
  }
  EXPECT_TESSERA_ERROR(open_text(set("qwen3vl.attention.head_count_kv", GgufValue::of_u32(3))), kModel,
                       "qwen3vl.attention.head_count: must be a multiple of "
                       "qwen3vl.attention.head_count_kv (got 4 and 3)");
  EXPECT_TESSERA_ERROR(open_text(set("qwen3vl.n_deepstack_layers", GgufValue::of_u32(2))), kModel,
                       "/dense.gguf: qwen3vl.n_deepstack_layers: ", "mmproj-dense.gguf (got 2, expected 3)");
  for (const char* key : {"block_count", "embedding_length", "feed_forward_length", "attention.head_count",
                          "attention.head_count_kv", "attention.key_length"}) {
    EXPECT_TESSERA_ERROR(open_text(remove(std::string("qwen3vl.") + key)), kModel, key);
  }
}

TEST_F(GgufPairs, VisionNumbersAreChecked) {  // G21
  const std::pair<const char*, GgufValue> bad[] = {
      {"block_count", GgufValue::of_string("4")},
      {"block_count", GgufValue::of_u32(0)},
      {"embedding_length", GgufValue::of_u32(0)},
      {"feed_forward_length", GgufValue::of_u32(0)},
      {"attention.head_count", GgufValue::of_u32(0)},
      {"patch_size", GgufValue::of_u32(0)},
      {"patch_size", GgufValue::of_u32(1 << 30)},
      {"image_size", GgufValue::of_u32(0)},
      {"image_size", GgufValue::of_u32(127)},
      {"image_size", GgufValue::of_u32(1 << 20)},
      {"spatial_merge_size", GgufValue::of_u32(0)},
      {"projection_dim", GgufValue::of_u32(0)},
      {"is_deepstack_layers", GgufValue::of_bools({true, true, true})},
      {"is_deepstack_layers", GgufValue::of_bools({true, true, true, true})},
      {"is_deepstack_layers", GgufValue::of_bools({true, true, false, false})},
      {"is_deepstack_layers", GgufValue::of_u32(7)},
      {"image_mean", GgufValue::of_f32s(std::vector{0.5f, 0.5f})},
      {"image_std", GgufValue::of_f32s(std::vector{0.5f, 0.5f, 0.0f})},
      {"image_min_pixels", GgufValue::of_u32(0)},
      {"image_min_pixels", GgufValue::of_u32(1u << 30)},
      {"image_max_pixels", GgufValue::of_u32(65535)},
  };
  for (const auto& [name, value] : bad) {
    SCOPED_TRACE(value.describe());
    EXPECT_TESSERA_ERROR(open_vision(set(std::string(kVision) + name, value)), kModel,
                         "/mmproj-dense.gguf: ", std::string(kVision) + name);
  }
  EXPECT_TESSERA_ERROR(open_vision(set("clip.vision.attention.head_count", GgufValue::of_u32(3))), kModel,
                       "clip.vision.embedding_length: ", "multiple of 4 · clip.vision.attention.head_count");
}

TEST_F(GgufPairs, MissingKeysTakeThePublishedValues) {
  const ModelFiles files = open(DensePair(
      [](EditedGguf& file) {
        for (const char* key : {"qwen3vl.context_length", "qwen3vl.rope.freq_base", "general.sampling.temp",
                                "qwen3vl.rope.dimension_sections", "qwen3vl.n_deepstack_layers",
                                "qwen3vl.attention.layer_norm_rms_epsilon", "tokenizer.chat_template"}) {
          file.metadata.remove(key);
        }
      },
      remove("clip.vision.is_deepstack_layers")));
  EXPECT_EQ(files.config.text.max_position_embeddings, 262144);
  EXPECT_EQ(files.config.text.rope_theta, 5e6);
  EXPECT_EQ(files.config.text.rms_norm_eps, 1e-6f);
  EXPECT_THAT(files.config.text.mrope_section, ElementsAre(24, 20, 20));
  EXPECT_THAT(files.config.vision.deepstack_visual_indexes, ElementsAre(0, 1, 2));
  EXPECT_FALSE(files.generation.do_sample);
  EXPECT_EQ(files.chat_template, std::nullopt);
}

TEST_F(GgufPairs, OptionalKeysAreRead) {
  const ModelFiles files = open(DensePair(
      [](EditedGguf& file) {
        file.metadata.set("tokenizer.ggml.eos_token_ids", GgufValue::of_i32s(std::vector{650, 648}));
        file.metadata.set("general.sampling.min_p", GgufValue::of_f32(0.25f));
        file.metadata.set("general.sampling.penalty_repeat", GgufValue::of_f32(1.5f));
      },
      [](EditedGguf& file) {
        file.metadata.set("clip.vision.image_min_pixels", GgufValue::of_u32(4096));
        file.metadata.set("clip.vision.image_max_pixels", GgufValue::of_u32(8192));
      }));
  EXPECT_THAT(files.generation.eos_token_ids, ElementsAre(650, 648));
  EXPECT_EQ(files.generation.min_p, 0.25f);
  EXPECT_EQ(files.generation.repetition_penalty, 1.5f);
  EXPECT_EQ(files.preprocess.min_pixels, 4096);
  EXPECT_EQ(files.preprocess.max_pixels, 8192);
}

TEST_F(GgufPairs, VocabulariesAreChecked) {  // G22
  const std::string types = "tokenizer.ggml.token_type", scores = "tokenizer.ggml.scores";
  EXPECT_TESSERA_ERROR(open_text(set(types, zeros(GgufType::kI8, 1, 768))), kModel, types, "wrong type",
                       "array of i32");
  EXPECT_TESSERA_ERROR(open_text(set(types, zeros(GgufType::kF32, 4, 768))), kModel, types, "wrong type");
  EXPECT_TESSERA_ERROR(open_text(set(types, GgufValue::of_i32(1))), kModel, types, "wrong type");
  EXPECT_TESSERA_ERROR(open_text(set(types, zeros(GgufType::kI32, 4, 767))), kModel, types,
                       "got 767, expected 768");
  EXPECT_TESSERA_ERROR(open_text(set(types, zeros(GgufType::kI32, 4, 768))), kModel, types, "got 0");
  EXPECT_TESSERA_ERROR(open_text(set(scores, zeros(GgufType::kI8, 1, 768))), kModel, scores, "wrong type");
  EXPECT_TESSERA_ERROR(open_text(set(scores, zeros(GgufType::kF32, 4, 7))), kModel, scores, "got 7");
  EXPECT_NO_THROW(open_text([&](EditedGguf& file) {  // u32 as well
    const GgufValue& signed_types = *file.metadata.find(types);
    std::string bytes(signed_types.bytes());
    bytes[0] = static_cast<char>(GgufType::kU32);
    file.metadata.set(types, GgufValue::parse(GgufType::kArray, bytes, "", ""));
  }));
  std::vector<std::int32_t> byte_types(768, 1);
  byte_types[5] = 6;
  EXPECT_TESSERA_ERROR(open_text(set(types, GgufValue::of_i32s(byte_types))), kUnsupported, types + "[5]");
  for (const char* key : {"tokens", "token_type", "merges", "eos_token_id", "model", "pre"}) {
    EXPECT_TESSERA_ERROR(open_text(remove(std::string("tokenizer.ggml.") + key)), kModel,
                         std::string("tokenizer.ggml.") + key);
  }
  EXPECT_TESSERA_ERROR(open_text(set("tokenizer.ggml.model", GgufValue::of_string("llama"))), kUnsupported,
                       "tokenizer.ggml.model: ", "got \"llama\", expected \"gpt2\"");
  EXPECT_TESSERA_ERROR(open_text(set("tokenizer.ggml.pre", GgufValue::of_string("qwen35\x1b"))), kUnsupported,
                       "tokenizer.ggml.pre: ", "got \"qwen35\\x1b\", expected \"qwen2\"");
  EXPECT_TESSERA_ERROR(open_text(set("tokenizer.ggml.eos_token_id", GgufValue::of_u32(768))), kModel,
                       "tokenizer.ggml.eos_token_id", "got 768");
  EXPECT_TESSERA_ERROR(
      open_text(set("tokenizer.ggml.eos_token_ids", GgufValue::of_i32s(std::vector{648, 768}))), kModel,
      "eos_token_id", "got 768");
  EXPECT_TESSERA_ERROR(open_text([](EditedGguf& file) {
                         auto tokens = file.metadata.strings("tokenizer.ggml.tokens");
                         for (std::string& token : tokens) {
                           if (token == "<|image_pad|>") token = "<|image_pat|>";
                         }
                         file.metadata.set("tokenizer.ggml.tokens", GgufValue::of_strings(tokens));
                       }),
                       kModel, "tokenizer.ggml.tokens: no control token <|image_pad|>");
}

TEST_F(GgufPairs, OtherArchitecturesAreNotSupported) {  // G24
  const char* key = "general.architecture: not supported";
  for (const auto& [file, got] : {std::pair("moe-bf16.gguf", "got \"qwen3vlmoe\", expected \"qwen3vl\""),
                                  std::pair("qwen3-bf16.gguf", "got \"qwen3\", expected \"qwen3vl\"")}) {
    EXPECT_TESSERA_ERROR(open_model_files(shared_gguf(file)), kUnsupported, file, key, got);
  }
  EXPECT_TESSERA_ERROR(open_text(set("general.architecture", GgufValue::of_string("llama"))), kUnsupported,
                       key, "got \"llama\", expected \"qwen3vl\"");
  EXPECT_TESSERA_ERROR(open_vision(set("general.architecture", GgufValue::of_string("llama"))), kUnsupported,
                       "mmproj-dense.gguf: ", key, "got \"llama\", expected \"clip\"");
  EXPECT_TESSERA_ERROR(open_vision(set("clip.projector_type", GgufValue::of_string("mlp"))), kUnsupported,
                       "clip.projector_type: not supported (got \"mlp\", expected \"qwen3vl_merger\")");
  EXPECT_TESSERA_ERROR(open_text(set("qwen3vl.expert_count", GgufValue::of_u32(8))), kUnsupported,
                       "qwen3vl.expert_count", "got 8");
  EXPECT_TESSERA_ERROR(open_text(set("qwen3vl.rope.scaling.type", GgufValue::of_string("yarn"))),
                       kUnsupported, "qwen3vl.rope.scaling.type", "got \"yarn\"");
  EXPECT_TESSERA_ERROR(open_text(set("qwen3vl.attention.value_length", GgufValue::of_u32(64))), kUnsupported,
                       "qwen3vl.attention.value_length", "got 64, expected 128");
  EXPECT_TESSERA_ERROR(open_vision(set("clip.vision.attention.layer_norm_epsilon", GgufValue::of_f32(1e-5f))),
                       kUnsupported, "clip.vision.attention.layer_norm_epsilon");
  EXPECT_TESSERA_ERROR(open_vision(set("clip.vision.temporal_patch_size", GgufValue::of_u32(1))),
                       kUnsupported, "clip.vision.temporal_patch_size", "got 1, expected 2");
  EXPECT_TESSERA_ERROR(open_vision(set("clip.use_gelu", GgufValue::of_bool(false))), kUnsupported,
                       "clip.use_gelu");
}

TEST_F(GgufPairs, FilesOfTwoModelsAreToldByBothNamesAndWidths) {  // G25
  EXPECT_TESSERA_ERROR(
      open_model_files(shared_gguf("shapes-vl-bf16.gguf"), shared_gguf("mmproj-dense-f16.gguf")), kModel,
      "/mmproj-dense-f16.gguf: clip.vision.projection_dim: ", "qwen3vl.embedding_length",
      "shapes-vl-bf16.gguf", "got 96, expected 256");
  const char* key = "general.architecture: ";
  // swapped
  EXPECT_TESSERA_ERROR(open_model_files(shared_gguf("mmproj-dense-f16.gguf"), shared_gguf("dense-bf16.gguf")),
                       kModel, "/mmproj-dense-f16.gguf: ", key, "/dense-bf16.gguf", "swapped?");
  // twice the same kind
  EXPECT_TESSERA_ERROR(open_model_files(shared_gguf("mmproj-dense-f16.gguf")), kModel,
                       "/mmproj-dense-f16.gguf: ", key, "is the vision file");
  EXPECT_TESSERA_ERROR(open_model_files(shared_gguf("dense-bf16.gguf"), shared_gguf("shapes-vl-bf16.gguf")),
                       kModel, "/shapes-vl-bf16.gguf: ", key, "is a text file, expected the vision file of ",
                       "/dense-bf16.gguf");
}

TEST_F(GgufPairs, NumbersInNamesOfTensorsAreChecked) {  // G29
  for (const char* name : {"blk.99999999999.attn_q.weight", "blk.-1.attn_q.weight", "blk.4.attn_q.weight"}) {
    EXPECT_TESSERA_ERROR(open_text([&](EditedGguf& file) { file.at("blk.3.attn_q.weight").name = name; }),
                         kModel, "/dense.gguf: " + std::string(name), "bad number");
  }
  EXPECT_TESSERA_ERROR(open_vision([](EditedGguf& file) { file.at("v.blk.0.ln1.bias").name = "v.blk.x.b"; }),
                       kModel, "/mmproj-dense.gguf: v.blk.x.b: bad number");
}

TEST_F(GgufPairs, TensorsMustBeThereAndFit) {
  const auto load = [](const DensePair& pair) { return Model::load(open(pair), {.threads = 1}); };
  EXPECT_TESSERA_ERROR(load(DensePair([](EditedGguf& file) { file.erase("blk.2.attn_k.weight"); })), kModel,
                       "dense.gguf", "model.language_model.layers.2.self_attn.k_proj.weight", "missing");
  EXPECT_TESSERA_ERROR(open_text([](EditedGguf& file) { file.erase("token_embd.weight"); }), kModel,
                       "token_embd.weight: missing");
  EXPECT_TESSERA_ERROR(load(DensePair(set("qwen3vl.feed_forward_length", GgufValue::of_u32(161)))), kModel,
                       "wrong shape", "160", "161");
  // the slices of the patch convolution
  const std::string slice = "v.patch_embd.weight.1";
  for (const std::string& name : {slice, std::string("v.patch_embd.weight")}) {
    EXPECT_TESSERA_ERROR(open_vision([&](EditedGguf& file) { file.erase(name); }), kModel,
                         "/mmproj-dense.gguf: " + name + ": missing");
  }
  EXPECT_TESSERA_ERROR(open_vision([&](EditedGguf& file) {
                         file.at(slice).shape = Shape{64, 3, 32, 16};
                       }),
                       kModel, "/mmproj-dense.gguf: " + slice,
                       "got F16 [64, 3, 32, 16], expected F16 [128, 3, 16, 16]");
}

TEST_F(GgufPairs, TensorsThatNobodyNeedsAreNamed) {
  const DensePair pair([](EditedGguf& file) {
    file.tensors.push_back(file.at("output_norm.weight"));
    file.tensors.back().name = "rope_freqs.weight";
  });
  const auto model = Model::load(open(pair), {.threads = 1});
  EXPECT_THAT(model->warnings(), ElementsAre(HasSubstr("1 tensors are not used: rope_freqs.weight")));
}

TEST_F(GgufPairs, TheVisionFileIsFoundBesideTheTextFile) {
  const DensePair pair;
  for (const std::string& path : {pair.text, pair.dir.path(), pair.dir.path() + "/"}) {
    const ModelFiles files = open_model_files(path);
    EXPECT_TRUE(std::filesystem::equivalent(files.path, pair.text));
    EXPECT_TRUE(std::filesystem::equivalent(files.mmproj, pair.vision));
  }
  // Its architecture tells it too.
  std::filesystem::rename(pair.vision, pair.dir / "eyes.gguf");
  EXPECT_EQ(open_model_files(pair.text).mmproj, pair.dir / "eyes.gguf");
  pair.dir.write("broken.gguf", "GGUF");
  EXPECT_EQ(open_model_files(pair.text).mmproj, pair.dir / "eyes.gguf");
}

TEST_F(GgufPairs, AChoiceOfFilesIsLeftToTheUser) {
  const DensePair pair;
  std::filesystem::copy(pair.vision, pair.dir / "mmproj-other.gguf");
  EXPECT_TESSERA_ERROR(open_model_files(pair.text), kUsage,
                       "/dense.gguf: ", "mmproj-dense.gguf, mmproj-other.gguf");
  EXPECT_NO_THROW(open_model_files(pair.text, pair.vision));
  EXPECT_NO_THROW(open_model_files(pair.dir.path(), pair.vision));
  std::filesystem::copy(pair.text, pair.dir / "more.gguf");
  EXPECT_TESSERA_ERROR(open_model_files(pair.dir.path(), pair.vision), kUsage, pair.dir.path(),
                       "several text models", "dense.gguf, more.gguf");
}

TEST_F(GgufPairs, AMissingPartIsNamed) {
  const DensePair pair;
  const TempDir elsewhere;
  std::filesystem::rename(pair.vision, elsewhere / "mmproj.gguf");
  EXPECT_TESSERA_ERROR(open_model_files(pair.text), kModel, "/dense.gguf: ", "only the text part",
                       "mmproj*.gguf");
  EXPECT_TESSERA_ERROR(open_model_files(pair.dir.path()), kModel, "/dense.gguf: ", "only the text part");
  EXPECT_TESSERA_ERROR(open_model_files(elsewhere.path()), kModel, "holds no text model", "mmproj.gguf");
  EXPECT_TESSERA_ERROR(open_model_files(pair.dir / "none.gguf"), kModel, "none.gguf", "No such file");
  EXPECT_TESSERA_ERROR(open_model_files(pair.text, pair.dir / "none.gguf"), kModel, "none.gguf",
                       "No such file");
  EXPECT_TESSERA_ERROR(open_model_files(pair.dir.write("x.txt", "hello")), kModel, "x.txt",
                       "not a GGUF file");
  EXPECT_TESSERA_ERROR(open_model_files(shared_golden("checkpoints/dense"), pair.text), kUsage, "--mmproj",
                       "checkpoints/dense");
}

TEST_F(GgufPairs, SplitTextFilesAreWhole) {
  const DensePair pair;
  const GgufFile whole = read_gguf(pair.text);
  const auto part = [&](std::uint32_t number, std::size_t begin, std::size_t end) {
    return edit_gguf(pair.text, pair.dir / ("split-0000" + std::to_string(number + 1) + "-of-00002.gguf"),
                     [&](EditedGguf& file) {
                       file.tensors = {file.tensors.begin() + static_cast<std::ptrdiff_t>(begin),
                                       file.tensors.begin() + static_cast<std::ptrdiff_t>(end)};
                       if (number > 0) file.metadata = GgufMetadata();
                       file.metadata.set("split.no", GgufValue::of_u32(number));
                       file.metadata.set("split.count", GgufValue::of_u32(2));
                     });
  };
  const std::string first = part(0, 0, 20), second = part(1, 20, whole.checkpoint->entries().size());
  for (const std::string& path : {first, second}) {
    const ModelFiles files = open_model_files(path);
    EXPECT_EQ(files.path, first);
    EXPECT_EQ(files.mmproj, pair.vision);
    EXPECT_EQ(files.checkpoint->entries().size(), open(pair).checkpoint->entries().size());
    EXPECT_TRUE(Model::load(files, {.threads = 1})->warnings().empty());
  }
  std::filesystem::remove(pair.text);
  EXPECT_EQ(open_model_files(pair.dir.path()).path, first);
}

}  // namespace
}  // namespace tessera::testing
