#include "models/text/unicode.h"

#include <gtest/gtest.h>

#include "models/text/pre_tokenizer.h"

namespace tessera {
namespace {

std::string nfc(std::string_view text) {
  std::string out;
  unicode::append_nfc(text, out);
  return out;
}

std::vector<std::string> pieces(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = piece_end(text, at);
    out.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}
using namespace std::string_view_literals;
using Pieces = std::vector<std::string>;

// Values of Python's unicodedata.normalize("NFC", …).
TEST(Nfc, ComposesAndOrders) {
  EXPECT_EQ(nfc("plain \u00e9"), "plain \u00e9");
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(nfc("d\u0307\u0323"), "\u1e0d\u0307");
  EXPECT_EQ(nfc("a\u0300\u0301"), "\u00e0\u0301");
  EXPECT_EQ(nfc("\u212b\u2126\u0958"), "\u00c5\u03a9\u0915\u093c");
  EXPECT_EQ(nfc("\u0344"), "\u0308\u0301");
  EXPECT_EQ(nfc("\U0001d15e"), "\U0001d157\U0001d165");
  EXPECT_EQ(nfc("\ufb01"), "\ufb01");
}

TEST(Nfc, ComposesHangulAndKeepsTheFillerJamo) {
  EXPECT_EQ(nfc("\u1100\u1161\u11a8"), "\uac01");
  EXPECT_EQ(nfc("\uac00\u11a8\u11a8"), "\uac01\u11a8");
  EXPECT_EQ(nfc("\uac00\u11a7"), "\uac00\u11a7");
  EXPECT_EQ(nfc("\u1100\u1161\u11a7\u11a8"), "\uac00\u11a7\u11a8");
}

TEST(CharClasses, FollowUnicode) {
  using unicode::CharClass;
  using unicode::classify;
  for (const char32_t c : U"aZ\u00e9\u01c5\u02b0\u4e2d\uac00\U00020000"sv) {
    EXPECT_EQ(classify(c), CharClass::kLetter) << std::uint32_t{c};
  }
  for (const char32_t c : U"7\u0663\u2167\u00bd\u2460"sv) {
    EXPECT_EQ(classify(c), CharClass::kNumber) << std::uint32_t{c};
  }
  for (const char32_t c : U"\t\v\f \u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"sv) {
    EXPECT_EQ(classify(c), CharClass::kSpace) << std::uint32_t{c};
  }
  for (const char32_t c : U"\u0001\u001c_\u0301\u200b\u180e\ufeff\U0001f642"sv) {
    EXPECT_EQ(classify(c), CharClass::kOther) << std::uint32_t{c};
  }
  EXPECT_EQ(classify('\r'), CharClass::kNewline);
  EXPECT_EQ(classify('\n'), CharClass::kNewline);
}

// Each row exercises one alternative of kQwenPattern.
TEST(PreTokenizer, CutsAsThePatternDoes) {
  EXPECT_EQ(pieces("I'Mit'lla'\u017fx"), (Pieces{"I", "'M", "it", "'ll", "a", "'\u017f", "x"}));
  EXPECT_EQ(pieces("'rex 'r 'l"), (Pieces{"'re", "x", " '", "r", " '", "l"}));
  EXPECT_EQ(pieces("ab cd\tef(gh"), (Pieces{"ab", " cd", "\tef", "(gh"}));
  EXPECT_EQ(pieces("x12\u00bd"), (Pieces{"x", "1", "2", "\u00bd"}));
  EXPECT_EQ(pieces("a !?\r\n\nb"), (Pieces{"a", " !?\r\n\n", "b"}));
  EXPECT_EQ(pieces("a \n \n  b"), (Pieces{"a", " \n \n", " ", " b"}));
  EXPECT_EQ(pieces("a   b  "), (Pieces{"a", "  ", " b", "  "}));
  EXPECT_EQ(pieces("a\u3000 1"), (Pieces{"a", "\u3000", " ", "1"}));
  EXPECT_EQ(pieces("\t!"), (Pieces{"\t", "!"}));
  EXPECT_EQ(pieces("e\u0301x"), (Pieces{"e", "\u0301x"}));
  EXPECT_EQ(pieces("'"), (Pieces{"'"}));
}

}  // namespace
}  // namespace tessera
