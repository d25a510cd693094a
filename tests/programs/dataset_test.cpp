#include "examples/common/dataset.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "examples/common/calibrate.h"
#include "tests/golden.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"

namespace tessera::programs {
namespace {

const std::string kData = TESSERA_GOLDEN_DIR "/../../examples/data";

class DatasetTest : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content) const {
    return dir_.write(name, content);
  }
  static std::shared_ptr<const qwen3vl::Model> model() {
    static const auto loaded = qwen3vl::Model::load(kData + "/shapes-vl", {.threads = 2});
    return loaded;
  }

  const testing::TempDir dir_;
  const std::filesystem::path folder_ = dir_.path();
};

TEST_F(DatasetTest, ReadsLines) {
  write("a.png", "");
  const auto file =
      write("x.jsonl",
            "{\"images\": [\"a.png\"], \"prompt\": \"What?\", \"answer\": \"That.\", \"kind\": \"k\", "
            "\"other\": [[1]]}\r\n \n{\"prompt\": \"\xc3\xa9\"}\n{\"prompt\":\"c\",\"video\":{}}");
  const auto examples = read_examples(file);
  ASSERT_EQ(examples.size(), 3u);
  EXPECT_EQ(examples[0].images, (std::vector<std::string>{(folder_ / "a.png").string()}));
  EXPECT_EQ(examples[0].prompt, "What?");
  EXPECT_EQ(examples[0].answer, "That.");
  EXPECT_EQ(examples[0].kind, "k");
  EXPECT_EQ(examples[0].line, 1u);
  EXPECT_EQ(examples[1].prompt, "\xc3\xa9");
  EXPECT_FALSE(examples[1].answer);
  EXPECT_EQ(examples[1].line, 3u);
  EXPECT_TRUE(examples[2].has_video);
  EXPECT_EQ(without_videos(examples, file).size(), 2u);
}

TEST_F(DatasetTest, NamesFileLineAndReasonOfABadLine) {
  const std::pair<std::string, std::string> bad[] = {
      {"", "no JSON object"},
      {"[1]", "no JSON object"},
      {"{\"prompt\": \"a\"", "no JSON object"},
      {"{\"prompt\": \"a\"} {}", "no JSON object"},
      {"{\"prompt\": \"\xff\"}", "no JSON object"},
      {"{\"prompt\": \"a\", \"x\": " + std::string(100, '[') + std::string(100, ']') + "}", "no JSON object"},
      {"{\"answer\": \"a\"}", "\"prompt\" is missing"},
      {"{\"prompt\": 3}", "\"prompt\" is no string"},
      {"{\"prompt\": \"\"}", "no picture"},
      {"{\"prompt\": \"a\", \"answer\": null}", "\"answer\" is no string"},
      {"{\"prompt\": \"a\", \"kind\": []}", "\"kind\" is no string"},
      {"{\"prompt\": \"a\", \"images\": \"a.png\"}", "\"images\" is no list"},
      {"{\"prompt\": \"a\", \"images\": [1]}", "\"images\" is no list"},
      {"{\"prompt\": \"a\", \"images\": [\"no.png\"]}", "no.png cannot be opened: No such file"},
      {"{\"prompt\": \"" + std::string(1 << 20, 'a') + "\"}", "too long"}};
  for (const auto& [line, reason] : bad) {
    const auto file =
        write("x.jsonl", "{\"prompt\": \"fine\"}\n" + (line.empty() ? "nonsense" : line) + "\n");
    EXPECT_TESSERA_ERROR(read_examples(file), kInput, "x.jsonl", "line 2", reason);
  }
}

TEST_F(DatasetTest, RefusesMorePicturesThanTheLimit) {
  write("a.png", "");
  std::string line = "{\"prompt\": \"a\", \"images\": [\"a.png\"";
  for (int i = 0; i < 64; ++i) line += ", \"a.png\"";
  EXPECT_TESSERA_ERROR(read_examples(write("x.jsonl", line + "]}")), kInput, "line 1",
                       "got 65, expected at most 64");
}

TEST_F(DatasetTest, RefusesFilesWithoutQuestions) {
  EXPECT_TESSERA_ERROR(read_examples(write("x.jsonl", "\n \n")), kInput, "x.jsonl", "empty");
  EXPECT_TESSERA_ERROR(read_examples("no-such.jsonl"), kInput, "no-such.jsonl", "No such file");
  const auto clips = write("y.jsonl", "{\"prompt\": \"a\", \"video\": {}}");
  EXPECT_TESSERA_ERROR(without_videos(read_examples(clips), clips), kInput, "y.jsonl",
                       "only questions about clips");
}

// The ids of tests/programs/golden/one.json: what the reference's processor makes of picture and question.
TEST_F(DatasetTest, LaysAQuestionOutAsTheReference) {
  std::ifstream golden(TESSERA_GOLDEN_DIR "/../programs/golden/one.json");
  const auto json = nlohmann::json::parse(golden);
  Example example;
  for (const auto& part : json["messages"][0]["content"]) {
    if (part["type"] == "image")
      example.images.push_back(TESSERA_GOLDEN_DIR "/images/" + part["image"].get<std::string>());
    if (part["type"] == "text") example.prompt = part["text"];
  }
  const Sequence sequence = question(*model(), example);
  EXPECT_EQ(sequence.ids, json["prompt_token_ids"].get<std::vector<std::int32_t>>());
  ASSERT_EQ(sequence.pictures.size(), 1u);
  EXPECT_EQ(sequence.pictures[0].grid.h, json["image_grid_thw"][0][1]);
}

TEST_F(DatasetTest, AnswersEndInTheTokenThatEndsATurn) {
  const Tokenizer& tokenizer = model()->tokenizer();
  const auto ids = answer_tokens(tokenizer, "Three.");
  EXPECT_EQ(tokenizer.decode(ids, SkipSpecial::kNo), "Three.<|im_end|>");
  EXPECT_EQ(answer_tokens(tokenizer, "").size(), 1u);
  EXPECT_GT(answer_tokens(tokenizer, "<|im_end|>").size(), 2u);  // typed text is no control token
}

TEST_F(DatasetTest, TextsAreTokensWithoutControlTokens) {
  const auto ids = read_text_tokens(model()->tokenizer(), write("t.txt", "a<|im_end|>"));
  const std::int32_t end = model()->tokenizer().id_of("<|im_end|>").value();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 0);
  EXPECT_EQ(model()->tokenizer().decode(ids, SkipSpecial::kNo), "a<|im_end|>");
  EXPECT_TESSERA_ERROR(read_text_tokens(model()->tokenizer(), write("e.txt", "")), kInput, "e.txt", "empty");
}

TEST_F(DatasetTest, CalibratesOnTextInWindows) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "number " + std::to_string(i) + "\n";
  const auto file = write("t.txt", text);
  const auto tokens = static_cast<std::int64_t>(read_text_tokens(model()->tokenizer(), file).size());
  std::vector<std::pair<std::size_t, std::size_t>> steps;
  const auto importance =
      calibrate(model(), file, {.threads = 2, .progress = [&](auto i, auto n) { steps.emplace_back(i, n); }});
  ASSERT_TRUE(importance);
  for (const auto& [name, rows] : importance->rows) EXPECT_EQ(rows, tokens) << name;
  const auto windows = static_cast<std::size_t>((tokens + 511) / 512);
  ASSERT_EQ(steps.size(), windows);
  EXPECT_EQ(steps.back(), std::pair(windows, windows));
}

TEST_F(DatasetTest, CalibratesOnQuestionsWithTheirAnswers) {
  const std::string question_line =
      "{\"images\": [\"" + kData + "/circle.png\"], \"prompt\": \"What is it?\"";
  const auto bare = calibrate(model(), write("b.jsonl", question_line + "}"), {.threads = 2});
  const auto answered =
      calibrate(model(), write("a.jsonl", question_line + ", \"answer\": \"Red.\"}"), {.threads = 2});
  ASSERT_TRUE(bare && answered);
  const std::string name = "model.language_model.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(answered->rows.at(name) - bare->rows.at(name),
            static_cast<std::int64_t>(answer_tokens(model()->tokenizer(), "Red.").size()));
  EXPECT_TRUE(bare->columns.contains("model.visual.blocks.0.attn.qkv.weight"));
}

TEST_F(DatasetTest, CalibrationErrorsNameTheLine) {
  std::string words;
  for (int i = 0; i < 9000; ++i) words.append(" ").append(std::to_string(i));
  const auto file = write("x.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"" + words + "\"}\n");
  EXPECT_TESSERA_ERROR(calibrate(model(), file, {.threads = 2}), kInput, "x.jsonl", "line 2", "does not fit");
  write("bad.png", "no picture");
  const auto broken = write("y.jsonl", "{\"prompt\": \"a\", \"images\": [\"bad.png\"]}\n");
  EXPECT_TESSERA_ERROR(calibrate(model(), broken, {.threads = 2}), kInput, "bad.png");
}

TEST_F(DatasetTest, CalibrationStopsWhenCancelled) {
  const std::atomic<bool> cancel{true};
  EXPECT_FALSE(calibrate(model(), write("t.txt", "some text"), {.threads = 2, .cancel = &cancel}));
}

}  // namespace
}  // namespace tessera::programs
