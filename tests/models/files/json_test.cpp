#include "models/files/json.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>

#include "tests/golden.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"

namespace tessera {
namespace {

using testing::TempDir;

TEST(Json, RefusesFilesThatCannotBeRead) {
  const TempDir dir;
  EXPECT_TESSERA_ERROR(read_json_file(dir / "config.json", 100), kModel, "config.json", "No such file");
  EXPECT_TESSERA_ERROR(read_json_file(dir.path(), 100), kModel, dir.path(), "not a regular file");
  EXPECT_TESSERA_ERROR(read_json_file(dir.write("empty", ""), 100), kModel, "empty: empty file");
  EXPECT_TESSERA_ERROR(read_json_file(dir.write("big", "[1, 2]"), 5), kModel, "big", "got 6 bytes, limit 5");
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  EXPECT_TESSERA_ERROR(read_json_file(dir / "fifo", 100), kModel, "not a regular file");
  EXPECT_EQ(read_text_file(dir.write("text", "a\nb\n"), 4), "a\nb\n");
}

TEST(Json, SyntaxErrorsNameLineAndColumn) {
  EXPECT_TESSERA_ERROR(parse_json("{\n \"a\": 1,\n \"b\" 2}", "f"), kModel,
                       "f: b: line 3, column 7, byte 17");
  EXPECT_TESSERA_ERROR(parse_json("{\"a\": [1, 2", "f"), kModel, "f: a[2]: line 1, column 11",
                       "unexpected end of input");
  EXPECT_TESSERA_ERROR(parse_json("\xEF\xBB\xBF{}", "f"), kModel, "line 1, column 1", "byte order mark");
  EXPECT_TESSERA_ERROR(parse_json("{} x", "f"), kModel, "line 1, column 4", "expected end of input");
  EXPECT_TESSERA_ERROR(parse_json(std::string_view("{} \0", 4), "f"), kModel, "column 4", "NUL byte");
  EXPECT_TESSERA_ERROR(parse_json("{\"a\": \"\xFF\"}", "f"), kModel, "f: a: line 1, column 8", "UTF-8");
  EXPECT_TESSERA_ERROR(parse_json("{\"a\": NaN}", "f"), kModel, "f: a: line 1, column 7", "invalid literal");
  EXPECT_TESSERA_ERROR(parse_json("{\"a\": {\"b\": 1e400}}", "f"), kModel, "f: a.b: line 1", "1e400");
  EXPECT_TESSERA_ERROR(parse_json("{\"a\": 1 /* c */}", "f"), kModel, "f: a: line 1");
  EXPECT_TESSERA_ERROR(parse_json("", "f"), kModel, "f: empty file");
}

TEST(Json, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_TESSERA_ERROR(parse_json("{\"a\": 1,\n\"a\": 2}", "f"), kModel, "f: a: line 2, column 3",
                       "duplicate key");
  EXPECT_TESSERA_ERROR(parse_json("{\"x\": [{\"a\": 1, \"a\": 2}]}", "f"), kModel, "f: x[1].a: line 1",
                       "duplicate key");
}

TEST(Json, RefusesDeepNestingWhileParsing) {
  const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_NO_THROW(parse_json(nested(64), "f"));
  EXPECT_TESSERA_ERROR(parse_json(nested(65), "f"), kModel, "column 65", "nesting deeper than 64");
  EXPECT_TESSERA_ERROR(parse_json(std::string(10'000'000, '['), "f"), kModel, "nesting deeper than 64");
}

TEST(Json, LimitsTheNumberOfValues) {
  EXPECT_NO_THROW(parse_json("[1, [], {}]", "f", 4));
  EXPECT_TESSERA_ERROR(parse_json("[1, [], {}]", "f", 3), kModel, "column 9", "more than 3 values");
  const TempDir dir;
  EXPECT_TESSERA_ERROR(read_json_file(dir.write("f", "[[],[],[]]"), 192), kModel, "more than 3 values");
}

TEST(Json, KeepsWhatTheFileSays) {
  const auto value = parse_json(R"({"b": [1, -2, 3.5, true, null, "\u00e9"], "a": {"c": {}}})", "f");
  EXPECT_EQ(value, (nlohmann::json{{"a", {{"c", nlohmann::json::object()}}},
                                   {"b", {1, -2, 3.5, true, nullptr, "\u00e9"}}}));
}

TEST(Json, MembersArriveInOrderWithoutBeingKept) {
  std::vector<std::string> keys;
  parse_json_members(
      R"({"z": {"n": [1, 2]}, "a": 3, "z": []})", "f", 8,
      [&](const std::string& key, const nlohmann::json& value) { keys.push_back(key + value.dump()); });
  EXPECT_THAT(keys, ::testing::ElementsAre("z{\"n\":[1,2]}", "a3", "z[]"));
  const auto ignore = [](const std::string&, const nlohmann::json&) {};
  EXPECT_TESSERA_ERROR(parse_json_members("[1]", "f", 8, ignore), kModel, "byte 8", "expected an object");
  EXPECT_TESSERA_ERROR(parse_json_members("{\"a\": }", "f", 8, ignore), kModel, "f: a:", "byte 14");
  std::string wide = "{\"a\": [0";
  for (std::size_t i = 0; i < kMaxMemberValues; ++i) wide += ",0";
  EXPECT_TESSERA_ERROR(parse_json_members(wide + "]}", "f", 8, ignore), kModel, "f: a[", "more than 65536");
}

TEST(JsonObject, GettersNameKeyPathAndValue) {
  const auto value = parse_json(
      R"({"s": "4096", "f": 4096.5, "t": true, "n": null, "i": 7, "big": 18446744073709551615,
          "list": [1, 2.5], "o": {"deep": {"x": -1}}})",
      "config.json");
  const JsonObject object(value, "config.json");
  for (const auto& [key, got] : {std::pair{"s", "\"4096\""},
                                 {"f", "4096.5"},
                                 {"t", "true"},
                                 {"n", "null"},
                                 {"big", "18446744073709551615"},
                                 {"list", "an array"}}) {
    EXPECT_TESSERA_ERROR(object.integer(key, 0, 10000), kModel, std::string("config.json: ") + key + ": ",
                         std::string("got ") + got);
  }
  EXPECT_TESSERA_ERROR(object.integer("gone", 0, 1), kModel, "config.json: gone: missing");
  EXPECT_TESSERA_ERROR(object.integer("i", 8, 9), kModel, "got 7, expected an integer from 8 to 9");
  EXPECT_TESSERA_ERROR(object.number("i", 0, 0.5), kModel, "got 7, expected a number from 0 to 0.5");
  EXPECT_TESSERA_ERROR(object.number("s", 0, 1), kModel, "s: ", "expected a number");
  EXPECT_TESSERA_ERROR(object.boolean("i"), kModel, "got 7, expected true or false");
  EXPECT_TESSERA_ERROR(object.string("i"), kModel, "got 7, expected a string");
  EXPECT_TESSERA_ERROR(object.object("i"), kModel, "config.json: i: ", "expected an object");
  EXPECT_TESSERA_ERROR(object.array("i"), kModel, "expected an array");
  EXPECT_TESSERA_ERROR(object.integers("list", 0, 9), kModel, "list[1]", "got 2.5");
  EXPECT_TESSERA_ERROR(object.object("o").object("deep").integer("x", 0, 9), kModel,
                       "config.json: o.deep.x: ", "got -1");
  EXPECT_TESSERA_ERROR(JsonObject(value["i"], "config.json"), kModel, "expected an object");
}

TEST(JsonObject, ReadsWhatIsThereAndLeavesOutWhatIsNot) {
  const auto value = parse_json(R"({"i": 7, "f": 0.5, "b": false, "s": "x", "n": null, "l": [3, 4]})", "f");
  const JsonObject object(value, "f");
  EXPECT_EQ(object.integer("i", 7, 7), 7);
  EXPECT_EQ(object.number("i", 0, 10), 7.0);
  EXPECT_EQ(object.numbers("l", 0, 4), (std::vector<double>{3, 4}));
  EXPECT_EQ(object.find_number("f", 0, 1), 0.5);
  EXPECT_EQ(object.find_boolean("b"), false);
  EXPECT_EQ(object.find_string("s"), "x");
  EXPECT_EQ(object.find_integer("n", 0, 1), std::nullopt);
  EXPECT_EQ(object.find_string("gone"), std::nullopt);
  EXPECT_FALSE(object.find_object("n"));
  EXPECT_TESSERA_ERROR(object.find_integer("s", 0, 1), kModel, "got \"x\"");
}

TEST(Json, ReadsThePublishedTokenizerFast) {
  TESSERA_REQUIRE_SHARED("tokenizer/qwen/tokenizer.json");
  const auto start = std::chrono::steady_clock::now();
  const auto value =
      read_json_file(testing::shared_golden("tokenizer/qwen/tokenizer.json"), kMaxTokenizerBytes);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(value["model"]["vocab"].size(), 151643u);
  EXPECT_LT(seconds.count(), 5.0);  // 0.2 s in a release build; loose for sanitizers and busy machines
}

}  // namespace
}  // namespace tessera
