// UTF-8, normalization form C and the character classes of the pre-tokenizer. Private to models/text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::unicode {

// What stands at one place of a byte string. Ill-formed bytes come in maximal subparts, as the Unicode
// standard §3.9 (table 3-8), Rust and Python cut them: each one becomes one U+FFFD.
enum class SequenceKind : std::uint8_t {
  kValid,
  kInvalid,     // can never become valid, whatever follows
  kIncomplete,  // a valid beginning that the end of the text cuts off
};
struct Sequence {
  SequenceKind kind;
  std::uint8_t bytes;   // 1 … 4
  char32_t code_point;  // U+FFFD unless valid
};

// The sequence that begins at text[at]; at < text.size().
Sequence sequence_at(std::string_view text, std::size_t at);

// Offset of the first byte that is not valid UTF-8, or npos.
std::size_t find_invalid(std::string_view text);

// Valid UTF-8: every maximal ill-formed subpart, one at the end included, becomes U+FFFD.
std::string replace_invalid(std::string_view text);

// Normalization form C of valid UTF-8, by the tables of utf8proc. O(n log n) in the longest run of combining
// marks, where utf8proc's own canonical ordering is quadratic. Appends to out.
void append_nfc(std::string_view text, std::string& out);

// The classes that the pre-tokenizer's pattern tells apart.
enum class CharClass : std::uint8_t {
  kLetter,   // \p{L}
  kNumber,   // \p{N}
  kNewline,  // \r \n
  kSpace,    // \s (the White_Space property) without \r \n
  kOther,
};
CharClass classify(char32_t code_point);

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace tessera::unicode
