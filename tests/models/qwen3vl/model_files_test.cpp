// Hugging Face folders as ModelFiles. What GGUF pairs become: gguf_model_test.cpp.
#include "models/qwen3vl/model_files.h"

#include <cstring>

#include "models/qwen3vl/model.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"
#include "tests/models/qwen3vl/golden_case.h"

namespace tessera::testing {
namespace {

using qwen3vl::ModelFiles;
using qwen3vl::open_model_files;
using ::testing::ElementsAre;

std::string folder() { return GoldenCase{"shapes-vl", ""}.model_folder(); }

TEST(ModelFiles, HoldEverythingOfAFolder) {
  const ModelFiles files = open_model_files(folder());
  EXPECT_EQ(files.path, folder());
  EXPECT_TRUE(files.mmproj.empty());
  EXPECT_EQ(files.config.text.num_hidden_layers, 4);
  EXPECT_EQ(files.preprocess.max_pixels, 65536);
  EXPECT_EQ(Tokenizer(files.tokenizer).vocab_size(), 672);
  EXPECT_THAT(files.generation.eos_token_ids, ElementsAre(648, 646));
  EXPECT_TRUE(files.chat_template);
  EXPECT_NE(files.checkpoint->find("model.language_model.layers.3.mlp.down_proj.weight"), nullptr);
}

// The folder with its tensors' names changed as a text replacement in the header.
class OlderExport {
 public:
  explicit OlderExport(const std::vector<std::pair<std::string, std::string>>& replacements) {
    for (const auto& file : std::filesystem::directory_iterator(folder())) {
      std::filesystem::copy(file.path(), dir_ / file.path().filename().string());
    }
    std::string bytes = read_text_file(folder() + "/model.safetensors", std::size_t{1} << 30);
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data(), sizeof size);
    std::string header = bytes.substr(8, size);
    for (const auto& [from, to] : replacements) {
      for (std::size_t at = 0; (at = header.find(from, at)) != std::string::npos; at += to.size()) {
        header.replace(at, from.size(), to);
      }
    }
    const std::string data = bytes.substr(8 + size);
    size = header.size();
    std::string front(8, '\0');
    std::memcpy(front.data(), &size, sizeof size);
    std::filesystem::remove(dir_ / "model.safetensors");
    dir_.write("model.safetensors", front + header + data);
  }
  const std::string& path() const { return dir_.path(); }

 private:
  TempDir dir_;
};

TEST(ModelFiles, GiveOlderNamesOfTensorsTheirPresentOnes) {  // spec §2.2, §10.2
  const ModelFiles present = open_model_files(folder());
  const std::vector<std::pair<std::string, std::string>> exports[] = {
      {{"\"model.language_model.", "\"model."}, {"\"model.visual.", "\"visual."}},
      {{"\"model.language_model.", "\"language_model.model."}, {"\"model.visual.", "\"visual."}},
  };
  for (const auto& names : exports) {
    const OlderExport older(names);
    const ModelFiles files = open_model_files(older.path());
    ASSERT_EQ(files.checkpoint->entries().size(), present.checkpoint->entries().size());
    for (const Checkpoint::Entry& entry : present.checkpoint->entries()) {
      const TensorView* const view = files.checkpoint->find(entry.name);
      ASSERT_NE(view, nullptr) << entry.name;
      EXPECT_EQ(std::memcmp(view->data, entry.bytes.data(), entry.bytes.size()), 0) << entry.name;
    }
    EXPECT_TRUE(qwen3vl::Model::load(files, {.threads = 2})->warnings().empty());
  }
}

TEST(ModelFiles, ATensorUnderBothNamesIsTakenUnderThePresentOne) {
  const OlderExport both({{"\"model.language_model.norm.weight\"", "\"model.language_model.norm.weigh2\""},
                          {"\"model.visual.merger.norm.bias\"", "\"visual.pos_embed.weight\""}});
  const ModelFiles files = open_model_files(both.path());
  EXPECT_TRUE(files.checkpoint->contains("visual.pos_embed.weight"));
  EXPECT_TRUE(files.checkpoint->contains("model.visual.pos_embed.weight"));
  EXPECT_TESSERA_ERROR(qwen3vl::Model::load(files, {.threads = 1}), kModel, "2 tensors are missing");
}

}  // namespace
}  // namespace tessera::testing
