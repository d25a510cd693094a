#include "examples/tessera_eval/scoring.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/golden.h"

namespace tessera::programs {
namespace {

std::vector<nlohmann::json> read_lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// tests/programs/golden/scores.jsonl: hand-made corner cases and damaged answers.
TEST(Scoring, GivesTheScoresOfThePythonProgram) {
  const auto lines = read_lines(TESSERA_GOLDEN_DIR "/../programs/golden/scores.jsonl");
  ASSERT_GT(lines.size(), 100u);
  for (const auto& line : lines) {
    EXPECT_DOUBLE_EQ(answer_score(line["kind"].get<std::string>(), line["answer"].get<std::string>(),
                                  line["text"].get<std::string>()),
                     line["score"].get<double>())
        << line.dump();
  }
}

TEST(Scoring, ABoxOfFewerThanFourNumbersHitsNothing) {
  const std::string wanted = R"([{"label": "a", "bbox_2d": [0, 0, 9, 9]}])";
  EXPECT_EQ(answer_score("boxes", wanted, R"([{"label": "a", "bbox_2d": [0, 0, 9]}])"), 0);
  EXPECT_EQ(answer_score("boxes", wanted, R"([{"label": "a", "bbox_2d": []}])"), 0);
}

TEST(Scoring, StaysWithinLimitsOnHostileAnswers) {
  EXPECT_EQ(answer_score("boxes", "", std::string(1 << 20, '[')), 0);
  EXPECT_EQ(answer_score("boxes", "", "[{" + std::string(1 << 20, '[') + "}]"), 0);
  std::string closing = "[{";
  for (int i = 0; i < (1 << 18); ++i) closing += "] ";
  EXPECT_EQ(answer_score("boxes", "", closing), 0);
  std::string opening;
  for (int i = 0; i < (1 << 18); ++i) opening += "[ ";
  EXPECT_EQ(answer_score("boxes", "", opening), 0);
  EXPECT_EQ(answer_score("describe", "", std::string(1 << 20, 'b')), 0);
}

// Figures of `score.py tasks reference_answers.jsonl`, the questions about clips among them.
TEST(Scoring, GivesTheReferenceAnswersTheirScore) {
  TESSERA_REQUIRE_SHARED("tasks/reference_answers.jsonl");
  std::vector<Example> tasks;
  for (const auto& line : read_lines(testing::shared_golden("tasks/tasks.jsonl"))) {
    Example& task = tasks.emplace_back();
    task.answer = line["answer"].get<std::string>();
    task.kind = line["kind"].get<std::string>();
  }
  std::vector<std::string> answers;
  for (const auto& line : read_lines(testing::shared_golden("tasks/reference_answers.jsonl")))
    answers.push_back(line["text"].get<std::string>());
  const TaskScores scores = score_answers(tasks, answers);
  EXPECT_EQ(scores.all.count, 200u);
  EXPECT_NEAR(scores.all.mean(), 0.6541, 5e-5);
  EXPECT_EQ(scores.kinds.size(), 21u);
  EXPECT_EQ(scores.kinds.at("describe").count, 32u);
  EXPECT_NEAR(scores.kinds.at("describe").mean(), 0.659, 5e-4);
  EXPECT_NEAR(scores.kinds.at("boxes").mean(), 0.072, 5e-4);
  EXPECT_NEAR(scores.kinds.at("box_one").mean(), 0.125, 5e-4);
  EXPECT_NEAR(scores.kinds.at("where").mean(), 0.778, 5e-4);
}

}  // namespace
}  // namespace tessera::programs
