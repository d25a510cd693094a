#include "models/qwen3vl/quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "models/files/gguf.h"
#include "models/files/gguf_writer.h"
#include "models/files/verify.h"
#include "models/qwen3vl/gguf_names.h"
#include "models/qwen3vl/model.h"
#include "models/qwen3vl/weights.h"
#include "quant/quantize.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"
#include "tests/models/qwen3vl/golden_case.h"

namespace tessera::qwen3vl {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::GoldenCase;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TempDir;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

QuantizerOptions pair_in(const TempDir& dir, const std::string& type, const std::string& vision = "") {
  QuantizerOptions options{.recipe = Recipe(type, vision)};
  options.text_path = dir / "m.gguf";
  options.vision_path = dir / "mmproj-m.gguf";
  options.threads = 2;
  return options;
}

// A copy of the bundled model that may be changed.
class Folder {
 public:
  Folder() {
    fs::copy(GoldenCase{"shapes-vl", "one"}.model_folder(), dir_.path(),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }
  const std::string& path() const { return dir_.path(); }
  std::string weights() const { return dir_ / "model.safetensors"; }

  // Overwrites an element of a bf16 tensor.
  void set(const std::string& name, std::int64_t index, std::uint16_t value) {
    std::size_t offset = 0;
    {
      const auto checkpoint = open_checkpoint(weights());
      const Buffer whole = Buffer::map_file(weights());
      const Checkpoint::Entry* found = nullptr;
      for (const auto& entry : checkpoint->entries()) found = entry.name == name ? &entry : found;
      const std::string bytes = read_bytes(weights());
      std::uint64_t header = 0;
      std::memcpy(&header, bytes.data(), sizeof header);
      offset = sizeof header + header;
      for (const auto& entry : checkpoint->entries()) {
        if (&entry == found) break;
        offset += entry.bytes.size();
      }
    }
    std::fstream file(weights(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset) + 2 * index);
    file.write(reinterpret_cast<const char*>(&value), sizeof value);
  }

 private:
  TempDir dir_;
};

struct ModelType {
  std::string checkpoint, type;
};
void PrintTo(const ModelType& m, std::ostream* out) { *out << m.checkpoint << " " << m.type; }

class EveryModelAndType : public ::testing::TestWithParam<ModelType> {
 protected:
  void SetUp() override {
    if (!fs::exists(case_.model_folder()) || !case_.exists())
      GTEST_SKIP() << "needs " << case_.model_folder();
  }
  GoldenCase case_{GetParam().checkpoint, "one"};
};

// What quantize_rows makes of a tensor of the checkpoint; of the patch convolution the frame of the name.
std::vector<std::uint8_t> expected_bytes(const Checkpoint& checkpoint, const Checkpoint::Entry& entry,
                                         const std::string& name) {
  const TensorView& source = *checkpoint.find(name);
  const auto n = static_cast<std::size_t>(source.shape.elements());
  std::vector<std::uint8_t> wide(n * sizeof(float));
  quant::QuantizeJob job{.from = source.dtype, .to = DType::kF32, .rows = 1};
  job.columns = source.shape.elements();
  quant::quantize_rows(job, source.as<const std::uint8_t>(), wide.data());
  if (name == kPatchEmbedding) {
    // [o][c][t][y][x] -> [o][c][y][x]
    const std::size_t frame = entry.name == kGgufPatchSlices[1] ? 1 : 0, block = 16 * 16 * sizeof(float);
    std::vector<std::uint8_t> slice;
    for (std::size_t at = frame * block; at < wide.size(); at += 2 * block)
      slice.insert(slice.end(), wide.begin() + static_cast<std::ptrdiff_t>(at),
                   wide.begin() + static_cast<std::ptrdiff_t>(at + block));
    wide = std::move(slice);
  }
  job.from = DType::kF32;
  job.to = entry.view->dtype;
  job.columns = entry.shape.back();
  job.rows = entry.shape.rows();
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(job.rows * quant::row_bytes(job.to, job.columns)));
  quant::quantize_rows(job, wide.data(), bytes.data());
  return bytes;
}

TEST_P(EveryModelAndType, FilesHoldWhatQuantizeRowsMakesOfEachTensor) {
  const TempDir dir;
  const ModelFiles files = open_model_files(case_.model_folder());
  const auto report = quantize_model(files, pair_in(dir, GetParam().type));
  ASSERT_TRUE(report);
  ASSERT_EQ(report->files.size(), 2u);
  std::size_t tensors = 0;
  for (const QuantizedFile& written : report->files) {
    EXPECT_EQ(written.bytes, fs::file_size(written.path));
    const GgufFile file = read_gguf(written.path);
    ASSERT_EQ(file.checkpoint->entries().size(), written.tensors.size());
    for (std::size_t i = 0; i < written.tensors.size(); ++i) {
      const Checkpoint::Entry& entry = file.checkpoint->entries()[i];
      const TensorReport& told = written.tensors[i];
      EXPECT_EQ(entry.name, told.name);
      EXPECT_EQ(entry.view->dtype, told.to);
      const auto bytes = expected_bytes(*files.checkpoint, entry, told.source);
      ASSERT_EQ(bytes.size(), entry.bytes.size()) << entry.name;
      EXPECT_EQ(std::memcmp(bytes.data(), entry.bytes.data(), bytes.size()), 0) << entry.name;
      ++tensors;
    }
  }
  // One more than the model has: the convolution's second frame.
  EXPECT_EQ(tensors, list_weights(*files.checkpoint, files.config).size() + 1);
}

std::vector<float> logits_of(const std::shared_ptr<const Model>& model, const GoldenCase& c) {
  const nlohmann::json json = c.json();
  Session session(model, {.threads = 2, .context = 512, .chunk = 64, .cache_dtype = DType::kF32});
  std::vector<PictureFeatures> pictures;
  for (const Image& image : c.images(json))
    pictures.push_back(*session.encode(preprocess_image(image, model->preprocess())));
  const auto ids = json.at("prompt_token_ids").get<std::vector<std::int32_t>>();
  const auto logits = session.prefill_all(ids, pictures);
  return {logits.begin(), logits.end()};
}

TEST_P(EveryModelAndType, QuantizingWhileLoadingGivesTheLogitsOfTheFiles) {
  const TempDir dir;
  const Recipe recipe(GetParam().type);
  ASSERT_TRUE(quantize_model(open_model_files(case_.model_folder()), pair_in(dir, GetParam().type)));
  const auto direct = Model::load(case_.model_folder(), {.threads = 2, .recipe = recipe});
  const auto stored = Model::load(dir / "m.gguf", {.threads = 2});
  const std::vector<float> expected = logits_of(stored, case_), got = logits_of(direct, case_);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Golden, EveryModelAndType,
                         ::testing::Values(ModelType{"shapes-vl", "bf16"}, ModelType{"dense", "f32"},
                                           ModelType{"shapes-vl", "q8_0"}, ModelType{"shapes-vl", "q4_0"},
                                           ModelType{"shapes-vl", "q4_k_m"}, ModelType{"dense", "q6_k"},
                                           ModelType{"dense", "bf16"}, ModelType{"dense", "f16"},
                                           ModelType{"dense", "q8_0"}, ModelType{"dense", "q4_0"},
                                           ModelType{"dense", "q4_k_m"}, ModelType{"untied", "bf16"},
                                           ModelType{"untied", "q8_0"}, ModelType{"untied", "q4_0"},
                                           ModelType{"untied", "q4_1"}, ModelType{"untied", "q4_k_m"}),
                         [](const auto& test) {
                           std::string name = test.param.checkpoint + "_" + test.param.type;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class QuantizerTest : public ::testing::Test {
 protected:
  TempDir dir_;
  const std::string folder_ = GoldenCase{"shapes-vl", "one"}.model_folder();
};

TEST_F(QuantizerTest, FilesQuantizedAgainToTheSameTypesStayAsTheyAre) {
  ASSERT_TRUE(quantize_model(open_model_files(folder_), pair_in(dir_, "q4_k_m")));
  const TempDir again;
  QuantizerOptions options = pair_in(again, "q4_k_m");
  ASSERT_TRUE(quantize_model(open_model_files(dir_ / "m.gguf"), options));
  const GgufFile first = read_gguf(dir_ / "m.gguf"), second = read_gguf(again / "m.gguf");
  ASSERT_EQ(first.checkpoint->entries().size(), second.checkpoint->entries().size());
  for (std::size_t i = 0; i < first.checkpoint->entries().size(); ++i) {
    const auto &a = first.checkpoint->entries()[i], &b = second.checkpoint->entries()[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_TRUE(std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end())) << a.name;
  }
  for (const auto& item : first.metadata.items()) {
    if (item.key == "general.name") continue;  // that of the file
    const GgufValue* const value = second.metadata.find(item.key);
    ASSERT_TRUE(value) << item.key;
    EXPECT_EQ(*value, item.value) << item.key << " " << value->describe();
  }
}

TEST_F(QuantizerTest, AnyNumberOfThreadsGivesTheSameFiles) {
  const TempDir other;
  QuantizerOptions one = pair_in(dir_, "q4_0"), three = pair_in(other, "q4_0");
  one.threads = 1;
  three.threads = 3;
  ASSERT_TRUE(quantize_model(open_model_files(folder_), one));
  ASSERT_TRUE(quantize_model(open_model_files(folder_), three));
  for (const char* name : {"m.gguf", "mmproj-m.gguf"})
    EXPECT_TRUE(read_bytes(dir_ / name) == read_bytes(other / name)) << name;
}

TEST_F(QuantizerTest, ImportanceChangesTheWeightsItNames) {
  Importance importance;
  const std::string name = "model.language_model.layers.1.mlp.down_proj.weight";
  std::vector<float>& columns = importance.columns[name];
  for (int i = 0; i < 512; ++i) columns.push_back(i % 32 == 0 ? 100.0f : 1.0f);
  QuantizerOptions plain = pair_in(dir_, "q4_0");
  plain.vision_path.reset();
  ASSERT_TRUE(quantize_model(open_model_files(folder_), plain));
  const TempDir other;
  QuantizerOptions weighted = pair_in(other, "q4_0");
  weighted.vision_path.reset();
  weighted.importance = &importance;
  ASSERT_TRUE(quantize_model(open_model_files(folder_), weighted));
  const GgufFile a = read_gguf(dir_ / "m.gguf"), b = read_gguf(other / "m.gguf");
  for (std::size_t i = 0; i < a.checkpoint->entries().size(); ++i) {
    const auto &x = a.checkpoint->entries()[i], &y = b.checkpoint->entries()[i];
    const bool same = std::equal(x.bytes.begin(), x.bytes.end(), y.bytes.begin(), y.bytes.end());
    EXPECT_EQ(same, x.name != "blk.1.ffn_down.weight") << x.name;
  }
  columns.pop_back();
  const TempDir third;
  QuantizerOptions wrong = pair_in(third, "q4_0");
  wrong.importance = &importance;
  EXPECT_TESSERA_ERROR(quantize_model(open_model_files(folder_), wrong), kUsage, name,
                       "got 511, expected 512");
  EXPECT_THAT(names_in(third.path()), IsEmpty());
}

// W1: at any row of a tensor, in blocks and in floats.
TEST_F(QuantizerTest, NamesTheWeightThatIsNoNumber) {
  struct Case {
    std::string tensor;
    std::int64_t index;
    const char* place;
  };
  for (const Case& c :
       {Case{"model.language_model.layers.2.self_attn.k_proj.weight", 200 * 256 + 17, "row 200, column 17"},
        Case{"model.language_model.norm.weight", 5, "column 5"},
        Case{"model.visual.patch_embed.proj.weight", 3 * 1536 + 256 + 4, "row 3, column 4"},
        Case{"model.language_model.embed_tokens.weight", 700 * 256, "row 700, column 0"}}) {
    Folder folder;
    folder.set(c.tensor, c.index, 0x7fc0);
    for (const char* type : {"q4_0", "bf16"}) {
      EXPECT_TESSERA_ERROR(quantize_model(open_model_files(folder.path()), pair_in(dir_, type)), kModel,
                           c.tensor, "not finite", c.place);
      EXPECT_THAT(names_in(dir_.path()), IsEmpty());
    }
  }
}

// W1, W3 while loading.
TEST_F(QuantizerTest, QuantizingWhileLoadingNamesTheWeightToo) {
  Folder folder;
  const std::string name = "model.language_model.layers.0.mlp.up_proj.weight";
  folder.set(name, 256 + 3, 0x7f00);  // 1.7e38
  EXPECT_TESSERA_ERROR(Model::load(folder.path(), {.threads = 2, .recipe = Recipe("q8_0")}), kModel, name,
                       "outside the range of q8_0 at row 1, column 3");
}

// F9
TEST_F(QuantizerTest, KeepsFilesThatExistUnlessToldToReplaceThem) {
  dir_.write("mmproj-m.gguf", "old");
  QuantizerOptions options = pair_in(dir_, "q8_0");
  EXPECT_TESSERA_ERROR(quantize_model(open_model_files(folder_), options), kOutput, "mmproj-m.gguf: exists");
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("mmproj-m.gguf"));
  EXPECT_EQ(read_bytes(dir_ / "mmproj-m.gguf"), "old");
  options.replace = true;
  EXPECT_TRUE(quantize_model(open_model_files(folder_), options));
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("m.gguf", "mmproj-m.gguf"));
}

// F8
TEST_F(QuantizerTest, NeverReplacesWhatItReads) {
  const Folder folder;
  const std::string before = read_bytes(folder.weights());
  fs::create_hard_link(folder.weights(), dir_ / "m.gguf");
  QuantizerOptions options = pair_in(dir_, "q8_0");
  options.replace = true;
  EXPECT_TESSERA_ERROR(quantize_model(open_model_files(folder.path()), options), kOutput,
                       "is the input file");
  EXPECT_TRUE(read_bytes(folder.weights()) == before);
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("m.gguf"));
}

TEST_F(QuantizerTest, CancelledAtAnyPieceLeavesNothing) {
  for (std::size_t stop : {0, 1, 30, 100, 145}) {
    std::atomic<bool> cancel{stop == 0};
    std::size_t calls = 0;
    QuantizerOptions options = pair_in(dir_, "q8_0");
    options.cancel = &cancel;
    options.progress = [&](const QuantizeProgress&) { cancel = ++calls >= stop; };
    EXPECT_FALSE(quantize_model(open_model_files(folder_), options)) << stop;
    EXPECT_THAT(names_in(dir_.path()), IsEmpty());
  }
}

// A disk that changes what was written.
TEST_F(QuantizerTest, ReadsTheFilesAgainBeforeTheyGetTheirNames) {
  std::vector<std::string> partial;
  bool damaged = false;
  QuantizerOptions options = pair_in(dir_, "q8_0");
  options.partial_files = [&](const std::vector<std::string>& names) { partial = names; };
  options.progress = [&](const QuantizeProgress& progress) {
    if (damaged || progress.done < progress.total) return;
    damaged = true;
    std::fstream file(partial.at(1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(0, std::ios::end);
    const auto at = static_cast<std::streamoff>(file.tellg()) / 2;
    file.seekp(at);
    file.put('x');
    file.put('y');
  };
  EXPECT_TESSERA_ERROR(quantize_model(open_model_files(folder_), options), kOutput, "mmproj-m.gguf",
                       "read again after writing: bytes are not those that were written");
  EXPECT_TRUE(damaged);
  EXPECT_THAT(names_in(dir_.path()), IsEmpty());
}

TEST_F(QuantizerTest, RefusesToDoNothing) {
  EXPECT_TESSERA_ERROR(quantize_model(open_model_files(folder_), {.recipe = Recipe("bf16")}), kUsage,
                       "neither");
}

TEST(ModelName, IsThatOfTheFolderOrFile) {
  EXPECT_EQ(model_name("/models/Qwen3-VL-4B"), "Qwen3-VL-4B");
  EXPECT_EQ(model_name("/models/Qwen3-VL-4B/"), "Qwen3-VL-4B");
  EXPECT_EQ(model_name("/models/x/../shapes-vl/."), "shapes-vl");
  EXPECT_EQ(model_name("/models/v1.5"), "v1.5");
  EXPECT_EQ(model_name("a/shapes-vl-Q4_0.gguf"), "shapes-vl-Q4_0");
  EXPECT_EQ(model_name("/"), "model");
}

class HashesTest : public QuantizerTest {
 protected:
  void SetUp() override {
    QuantizerOptions options = pair_in(dir_, "q4_0");
    options.vision_path.reset();
    ASSERT_TRUE(quantize_model(open_model_files(folder_), options));
  }
  // Changes a byte of a tensor.
  void damage(const std::string& tensor, std::size_t index, char value) const {
    const std::string path = dir_ / "m.gguf";
    std::size_t offset = 0;
    {
      const GgufFile file = read_gguf(path);
      const auto entries = file.checkpoint->entries();
      const auto* const end = entries.back().bytes.data() + entries.back().bytes.size();
      for (const auto& entry : entries) {
        if (entry.name == tensor)
          offset = fs::file_size(path) - static_cast<std::size_t>(end - entry.bytes.data());
      }
    }
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset + index));
    file.put(value);
  }
};

TEST_F(HashesTest, AreRightForWhatWasWritten) {
  const GgufFile file = read_gguf(dir_ / "m.gguf");
  std::size_t bytes = 0;
  VerifyRun run{.threads = 2};
  run.progress = [&](std::size_t n) { bytes += n; };
  EXPECT_EQ(verify_gguf_hashes(file, run), GgufHashes::kRight);
  EXPECT_GT(bytes, 1'500'000u);
  EXPECT_TRUE(verify_numbers(*file.checkpoint, run));
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(verify_gguf_hashes(file, {.cancel = &cancel}), GgufHashes::kCancelled);
  EXPECT_FALSE(verify_numbers(*file.checkpoint, {.cancel = &cancel}));
}

// E21
TEST_F(HashesTest, NameTheTensorThatAFlippedByteIsIn) {
  for (const char* tensor : {"token_embd.weight", "blk.2.attn_q_norm.weight", "output_norm.weight"}) {
    damage(tensor, 3, 0x55);
    EXPECT_TESSERA_ERROR(verify_gguf_hashes(read_gguf(dir_ / "m.gguf"), {}), kModel, "m.gguf", tensor,
                         "XXH3-64");
    TearDown();
    fs::remove(dir_ / "m.gguf");
    SetUp();
  }
}

// G27
TEST_F(HashesTest, ScalesThatAreNoNumberAreNamed) {
  damage("blk.1.attn_k.weight", 5 * 144 + 1, 0x7e);  // row 5 of 8 blocks of 18 bytes
  EXPECT_TESSERA_ERROR(verify_numbers(*read_gguf(dir_ / "m.gguf").checkpoint, {.threads = 2}), kModel,
                       "blk.1.attn_k.weight", "not finite at row 5, column 0");
}

TEST_F(HashesTest, OfOtherTensorsAreToldFromDamage) {
  const GgufFile file = read_gguf(dir_ / "m.gguf");
  std::vector<GgufTensor> tensors;
  for (const auto& entry : file.checkpoint->entries())
    tensors.push_back({entry.name, entry.view->dtype, entry.shape});
  tensors[1].name += ".renamed";
  GgufWriter writer(dir_ / "other.gguf", {});
  writer.begin(file.metadata, tensors);
  for (const auto& entry : file.checkpoint->entries()) writer.append(entry.bytes);
  writer.finish();
  EXPECT_EQ(verify_gguf_hashes(read_gguf(dir_ / "other.gguf"), {}), GgufHashes::kForeign);
}

TEST_F(HashesTest, AreMissingFromTheFilesOfOthers) {
  TESSERA_REQUIRE_SHARED("gguf/shapes-vl-q4_0.gguf");
  const GgufFile file = read_gguf(testing::shared_golden("gguf/shapes-vl-q4_0.gguf"));
  EXPECT_EQ(verify_gguf_hashes(file, {}), GgufHashes::kNone);
  EXPECT_TRUE(verify_numbers(*file.checkpoint, {.threads = 2}));
}

}  // namespace
}  // namespace tessera::qwen3vl
