#include <functional>

#include "models/text/pre_tokenizer.h"
#include "models/text/tokenizer.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"
#include "tests/models/text/golden_text.h"

namespace tessera {
namespace {

using nlohmann::json;
using testing::golden;
using testing::TempDir;

json small_tokenizer() {
  static const json document = json::parse(std::ifstream(golden("tokenizer/dense/tokenizer.json")));
  return document;
}

std::string small_file(const std::string& name) {
  std::ifstream file(golden("tokenizer/untied/" + name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void load(const json& document) {
  const TempDir folder;
  folder.write("tokenizer.json", document.dump());
  Tokenizer::from_folder(folder.path());
}

TEST(TokenizerFiles, RefusesMissingEmptyAndCutFiles) {
  const TempDir folder;
  EXPECT_TESSERA_ERROR(Tokenizer::from_folder(folder.path()), kModel, "tokenizer.json");
  folder.write("tokenizer.json", "");
  EXPECT_TESSERA_ERROR(Tokenizer::from_folder(folder.path()), kModel, "tokenizer.json");
  folder.write("tokenizer.json", small_tokenizer().dump().substr(0, 5000));
  EXPECT_TESSERA_ERROR(Tokenizer::from_folder(folder.path()), kModel, "tokenizer.json", "line 1");
  folder.write("tokenizer.json", "[]");
  EXPECT_TESSERA_ERROR(Tokenizer::from_folder(folder.path()), kModel, "tokenizer.json");
  std::filesystem::resize_file(folder / "tokenizer.json", (std::size_t{256} << 20) + 1);
  EXPECT_TESSERA_ERROR(Tokenizer::from_folder(folder.path()), kModel, "tokenizer.json", "268435456");
}

TEST(TokenizerFiles, RefusesOtherPipelinesByName) {
  const auto expect = [](const char* field, const char* got, const char* expected,
                         const std::function<void(json&)>& change) {
    json document = small_tokenizer();
    change(document);
    EXPECT_TESSERA_ERROR(load(document), kUnsupported, "tokenizer.json", field, got, expected);
  };
  expect("model.type", "Unigram", "BPE", [](json& d) { d["model"]["type"] = "Unigram"; });
  expect("model.byte_fallback", "true", "false", [](json& d) { d["model"]["byte_fallback"] = true; });
  expect("model.ignore_merges", "true", "false", [](json& d) { d["model"]["ignore_merges"] = true; });
  expect("model.dropout", "0.5", "null", [](json& d) { d["model"]["dropout"] = 0.5; });
  expect("model.end_of_word_suffix", "</w>", "null",
         [](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; });
  expect("normalizer.type", "Lowercase", "NFC", [](json& d) { d["normalizer"]["type"] = "Lowercase"; });
  expect("normalizer", "nothing", "an object", [](json& d) { d["normalizer"] = nullptr; });
  expect("decoder.type", "Metaspace", "ByteLevel", [](json& d) { d["decoder"]["type"] = "Metaspace"; });
  expect("post_processor.type", "TemplateProcessing", "ByteLevel",
         [](json& d) { d["post_processor"]["type"] = "TemplateProcessing"; });
  expect("pre_tokenizer.type", "Whitespace", "Sequence",
         [](json& d) { d["pre_tokenizer"]["type"] = "Whitespace"; });
  expect("pretokenizers[1].use_regex", "true", "false",
         [](json& d) { d["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true; });
  expect("pretokenizers[1].add_prefix_space", "nothing", "false",
         [](json& d) { d["pre_tokenizer"]["pretokenizers"][1].erase("add_prefix_space"); });
  expect("added_tokens[3].lstrip", "true", "false", [](json& d) { d["added_tokens"][3]["lstrip"] = true; });
}

TEST(TokenizerFiles, NamesBothPatternsWhenTheyDiffer) {
  json document = small_tokenizer();
  const std::string other = R"([^\s\p{L}\p{M}]+|\p{N}{1,3})";
  document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = other;
  EXPECT_TESSERA_ERROR(load(document), kUnsupported, "pretokenizers[0].pattern.Regex", other,
                       std::string(kQwenPattern));
}

TEST(TokenizerFiles, RefusesBadIdsTokensAndMerges) {
  const auto expect = [](const char* field, const char* reason, const std::function<void(json&)>& change) {
    json document = small_tokenizer();
    change(document);
    EXPECT_TESSERA_ERROR(load(document), kModel, "tokenizer.json", field, reason);
  };
  expect("model.vocab.A", "-1", [](json& d) { d["model"]["vocab"]["A"] = -1; });
  expect("model.vocab.A", "4294967296", [](json& d) { d["model"]["vocab"]["A"] = 4294967296; });
  expect("model.vocab.A", "32.5", [](json& d) { d["model"]["vocab"]["A"] = 32.5; });
  expect("model.vocab.B", "the id of \"A\" too", [](json& d) { d["model"]["vocab"]["B"] = 32; });
  expect("model.vocab", "the token is empty", [](json& d) { d["model"]["vocab"][""] = 700; });
  expect("tokens[700]", "outside the byte alphabet", [](json& d) { d["model"]["vocab"]["\u4e2d"] = 700; });
  expect("model.merges[0]", "two tokens", [](json& d) { d["model"]["merges"][0] = 5; });
  expect("merges[1]", "unknown token", [](json& d) { d["model"]["merges"][1] = {"Q", "QQ"}; });
  expect("merges[390]", "duplicate merge",
         [](json& d) { d["model"]["merges"].push_back(d["model"]["merges"][0]); });
  expect("added_tokens[2]", "empty", [](json& d) { d["added_tokens"][2]["content"] = ""; });
  expect("added_tokens[2].id", "-5", [](json& d) { d["added_tokens"][2]["id"] = -5; });
  expect("model.merges", "missing", [](json& d) { d["model"].erase("merges"); });
}

TEST(TokenizerFiles, AcceptsHolesAndBothSpellingsOfMerges) {
  json document = small_tokenizer();
  document["model"]["vocab"]["zzz"] = 800;
  for (auto& merge : document["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  const TempDir folder;
  folder.write("tokenizer.json", document.dump());
  const Tokenizer tokenizer = Tokenizer::from_folder(folder.path());
  EXPECT_EQ(tokenizer.vocab_size(), 801);
  EXPECT_EQ(tokenizer.token_text(750), "");
  const testing::Ids expected = testing::golden_chat("dense", "text")["prompt_token_ids"];
  const std::string prompt = testing::golden_chat("dense", "text")["prompt"];
  EXPECT_EQ(tokenizer.encode(prompt, SpecialTokens::kParse), expected);
}

TEST(TokenizerFiles, TokenizerJsonWinsOverVocabAndMerges) {
  const TempDir folder;
  folder.write("tokenizer.json", small_tokenizer().dump());
  folder.write("vocab.json", "broken");
  folder.write("merges.txt", "broken");
  EXPECT_EQ(Tokenizer::from_folder(folder.path()).vocab_size(), 672);
}

TEST(TokenizerFiles, RefusesBrokenVocabMergesAndConfig) {
  const auto expect = [](const char* name, const std::string& content, std::vector<std::string> parts) {
    const TempDir folder;
    for (const char* file : {"vocab.json", "merges.txt", "tokenizer_config.json"}) {
      folder.write(file, std::string(file) == name ? content : small_file(file));
    }
    testing::expect_error(__FILE__, __LINE__, ErrorCode::kModel, parts,
                          [&] { Tokenizer::from_folder(folder.path()); });
  };
  expect("vocab.json", "{\"A\": 0}", {"vocab.json", "tokens", "no token for byte 0"});
  expect("merges.txt", "#version: 0.2\nA B C\n", {"merges[0]", "two tokens"});
  expect("merges.txt", "", {"merges.txt"});
  expect("tokenizer_config.json", "{}", {"tokenizer_config.json", "added_tokens_decoder"});
  expect("tokenizer_config.json", R"({"added_tokens_decoder": {"6x": {"content": "a"}}})",
         {"tokenizer_config.json", "added_tokens_decoder.6x", "no token id"});
  expect("tokenizer_config.json", R"({"added_tokens_decoder": {"646": {"special": true}}})",
         {"tokenizer_config.json", "added_tokens_decoder.646.content"});
}

}  // namespace
}  // namespace tessera
