#include "tensor/error.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Error, NamesFileFieldAndReason) {
  const Error error(ErrorCode::kModel, "config.json", "hidden_size", "missing");
  EXPECT_STREQ(error.what(), "config.json: hidden_size: missing");
  EXPECT_STREQ(Error(ErrorCode::kUsage, "", "", "no").what(), "no");
}

TEST(Error, EscapesTextFromFiles) {
  EXPECT_EQ(escape("a\nb\x1b[31m\x7f"), "a\\nb\\x1b[31m\\x7f");
  EXPECT_EQ(escape("\xc3\xa9\xff\xc0\x80"), "\xc3\xa9\\xff\\xc0\\x80");
  EXPECT_EQ(escape("\xc2\x9b"), "\\xc2\\x9b");  // C1 control: a terminal takes it for ESC [
  EXPECT_EQ(escape("abcdef", 3), "abc…");
  EXPECT_STREQ(Error(ErrorCode::kModel, "x\x1b", "", "r").what(), "x\\x1b: r");
}

TEST(Error, CheckedArithmeticTellsOfWraps) {
  std::uint64_t out = 0;
  EXPECT_TRUE(checked_mul(1u << 31, 1u << 31, &out));
  EXPECT_FALSE(checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32, &out));
  EXPECT_FALSE(checked_add(~std::uint64_t{0}, 1, &out));
}

}  // namespace
}  // namespace tessera
