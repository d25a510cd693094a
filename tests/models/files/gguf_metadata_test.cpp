#include "models/files/gguf_metadata.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/models/files/expect_error.h"
#include "tests/models/files/make_gguf.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using namespace testing;  // make_gguf.h

GgufMetadata of(GgufType type, const std::string& bytes) {
  GgufMetadata metadata("x.gguf");
  metadata.set("k", GgufValue::parse(type, bytes, "x.gguf", "k"));
  return metadata;
}

TEST(GgufMetadata, TakesIntegersOfEveryType) {
  const std::pair<GgufType, std::string> kValues[] = {{GgufType::kU8, "\7"},
                                                      {GgufType::kI8, "\7"},
                                                      {GgufType::kU16, number<std::uint16_t>(7)},
                                                      {GgufType::kI16, number<std::int16_t>(7)},
                                                      {GgufType::kU32, u32(7)},
                                                      {GgufType::kI32, u32(7)},
                                                      {GgufType::kU64, u64(7)},
                                                      {GgufType::kI64, u64(7)}};
  for (const auto& [type, bytes] : kValues) {
    EXPECT_EQ(of(type, bytes).integer("k", 0, 10), 7);
    EXPECT_EQ(of(type, bytes).find_integer("k", 0, 10), 7);
    EXPECT_TESSERA_ERROR(of(type, bytes).integer("k", 8, 10), kModel, "x.gguf: k: out of range",
                         "got 7, expected 8 to 10");
  }
  EXPECT_EQ(of(GgufType::kI8, "\xff").integer("k", -5, 5), -1);
  EXPECT_TESSERA_ERROR(of(GgufType::kU64, u64(~std::uint64_t{0})).integer("k", INT64_MIN, INT64_MAX), kModel,
                       "got 18446744073709551615");
}

TEST(GgufMetadata, NamesFileKeyAndTypeOfWhatItRefuses) {
  GgufMetadata metadata("x.gguf");
  metadata.set("u", GgufValue::of_u32(1));
  metadata.set("f", GgufValue::of_f32(0.5f));
  metadata.set("s", GgufValue::of_string("text"));
  metadata.set("nan", GgufValue::of_f32(std::numeric_limits<float>::quiet_NaN()));
  metadata.set("i32s", GgufValue::of_i32s(std::vector<std::int32_t>{1, -2}));
  EXPECT_TESSERA_ERROR(metadata.integer("gone", 0, 1), kModel, "x.gguf: gone: missing");
  EXPECT_TESSERA_ERROR(metadata.string("gone"), kModel, "x.gguf: gone: missing");
  EXPECT_FALSE(metadata.find_integer("gone", 0, 1) || metadata.find_string("gone") ||
               metadata.find_number("gone", 0, 1) || metadata.find_boolean("gone"));
  EXPECT_TESSERA_ERROR(metadata.integer("f", 0, 1), kModel, "f: wrong type", "got f32, expected an integer");
  EXPECT_TESSERA_ERROR(metadata.integer("s", 0, 1), kModel, "s: wrong type", "got string");
  EXPECT_TESSERA_ERROR(metadata.find_string("u"), kModel, "u: wrong type", "got u32, expected string");
  EXPECT_TESSERA_ERROR(metadata.number("u", 0, 1), kModel, "u: wrong type", "expected f32 or f64");
  EXPECT_TESSERA_ERROR(metadata.number("nan", 0, 1), kModel, "nan: out of range");
  EXPECT_TESSERA_ERROR(metadata.number("f", 1, 2), kModel, "f: out of range", "got 0.5, expected 1 to 2");
  EXPECT_TESSERA_ERROR(metadata.boolean("u"), kModel, "u: wrong type", "expected bool");
  EXPECT_TESSERA_ERROR(metadata.strings("i32s"), kModel, "got array of i32, expected array of string");
  EXPECT_TESSERA_ERROR(metadata.numbers("i32s", 0, 1), kModel, "expected array of f32 or f64");
  EXPECT_TESSERA_ERROR(metadata.booleans("i32s"), kModel, "expected array of bool");
  EXPECT_TESSERA_ERROR(metadata.integers("u", 0, 1), kModel, "got u32, expected array of integers");
  EXPECT_TESSERA_ERROR(metadata.integers("i32s", 0, 1), kModel, "i32s: out of range", "got -2");
}

TEST(GgufMetadata, GivesBackWhatWasSet) {
  GgufMetadata metadata;
  const std::vector<std::string> words = {"", "a b", std::string("\0\xff", 2)};
  metadata.set("words", GgufValue::of_strings(words));
  metadata.set("none", GgufValue::of_strings({}));
  metadata.set("bools", GgufValue::of_bools({true, false}));
  metadata.set("f32s", GgufValue::of_f32s(std::vector<float>{0.5f, -1}));
  metadata.set("u64s", GgufValue::of_u64s(std::vector<std::uint64_t>{1, 1000}));
  metadata.set("bool", GgufValue::of_bool(true));
  metadata.set("i32", GgufValue::of_i32(-3));
  metadata.set("u64", GgufValue::of_u64(std::uint64_t{1} << 40));
  EXPECT_EQ(metadata.strings("words"), words);
  EXPECT_TRUE(metadata.strings("none").empty());
  EXPECT_THAT(metadata.booleans("bools"), ElementsAre(true, false));
  EXPECT_THAT(metadata.numbers("f32s", -1, 1), ElementsAre(0.5, -1));
  EXPECT_THAT(metadata.integers("u64s", 0, 1000), ElementsAre(1, 1000));
  EXPECT_TRUE(metadata.boolean("bool"));
  EXPECT_EQ(metadata.integer("i32", -5, 0), -3);
  EXPECT_EQ(metadata.integer("u64", 0, INT64_MAX), std::int64_t{1} << 40);
  EXPECT_EQ(metadata.find("words")->describe(), "array of 3 string");
  EXPECT_EQ(metadata.find("i32")->describe(), "-3");
  EXPECT_EQ(GgufValue::of_string("a\n").describe(), "\"a\\n\"");
}

TEST(GgufMetadata, KeepsTheOrderOfKeys) {
  GgufMetadata metadata;
  for (const char* key : {"c", "a", "b"}) metadata.set(key, GgufValue::of_u32(1));
  metadata.set("a", GgufValue::of_u32(2));
  metadata.remove("c");
  metadata.remove("c");
  ASSERT_EQ(metadata.items().size(), 2u);
  EXPECT_EQ(metadata.items()[0].key, "a");
  EXPECT_EQ(metadata.integer("a", 0, 9), 2);
  EXPECT_EQ(metadata.integer("b", 0, 9), 1);
  EXPECT_FALSE(metadata.contains("c"));
}

TEST(GgufMetadata, RefusesWhatAFileCannotHold) {
  GgufMetadata metadata;
  EXPECT_TESSERA_ERROR(metadata.set("", GgufValue::of_u32(1)), kUsage, "bad key", "got 0");
  EXPECT_TESSERA_ERROR(metadata.set(std::string(65536, 'k'), GgufValue::of_u32(1)), kUsage, "got 65536");
  EXPECT_TESSERA_ERROR(GgufValue::of_string(std::string((16 << 20) + 1, 'x')), kUsage, "string too long");
  for (std::size_t i = 0; i < kMaxGgufKeys; ++i) metadata.set(std::to_string(i), GgufValue::of_u32(1));
  EXPECT_TESSERA_ERROR(metadata.set("one more", GgufValue::of_u32(1)), kUsage, "too many keys");
}

}  // namespace
}  // namespace tessera
