#include "models/text/pre_tokenizer.h"

#include "models/text/unicode.h"

namespace tessera {
namespace {

using unicode::CharClass;

struct Char {
  CharClass char_class;
  std::size_t end;
  char32_t code_point;
};

Char char_at(std::string_view text, std::size_t at) {
  const unicode::Sequence s = unicode::sequence_at(text, at);
  return {unicode::classify(s.code_point), at + s.bytes, s.code_point};
}

// End of the run of characters of class `wanted` from `at`.
std::size_t skip(std::string_view text, std::size_t at, CharClass wanted) {
  while (at < text.size()) {
    const Char c = char_at(text, at);
    if (c.char_class != wanted) break;
    at = c.end;
  }
  return at;
}

// ASCII lower case; U+017F (long s) folds to s, the only other character that folds to one of s t r e v m l
// d.
char fold(char32_t c) {
  if (c == 0x17F) return 's';
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c + 32);
  return c < 0x80 ? static_cast<char>(c) : '\0';
}

// End of "'s" and its kind at `at`, where text has an apostrophe; `at` when there is none.
std::size_t contraction_end(std::string_view text, std::size_t at) {
  if (at + 1 == text.size()) return at;
  const Char first = char_at(text, at + 1);
  const char a = fold(first.code_point);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return first.end;
  if (first.end == text.size()) return at;
  const Char second = char_at(text, first.end);
  const char b = fold(second.code_point);
  const bool pair = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
  return pair ? second.end : at;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ at a white character.
std::size_t white_end(std::string_view text, std::size_t begin) {
  std::size_t end = begin, last = begin, after_newline = begin;
  while (end < text.size()) {
    const Char c = char_at(text, end);
    if (c.char_class != CharClass::kSpace && c.char_class != CharClass::kNewline) break;
    last = end;
    end = c.end;
    if (c.char_class == CharClass::kNewline) after_newline = end;
  }
  if (after_newline > begin) return after_newline;
  // Before a visible character the run leaves its last space to the next piece, unless it is one space.
  return end == text.size() || last == begin ? end : last;
}

}  // namespace

std::size_t piece_end(std::string_view text, std::size_t begin) {
  const Char first = char_at(text, begin);
  if (first.code_point == '\'') {
    const std::size_t end = contraction_end(text, begin);
    if (end > begin) return end;
  }
  if (first.char_class == CharClass::kLetter) return skip(text, first.end, CharClass::kLetter);
  if (first.char_class == CharClass::kNumber) return first.end;

  const bool more = first.end < text.size();
  const CharClass next = more ? char_at(text, first.end).char_class : CharClass::kNewline;
  if (first.char_class != CharClass::kNewline && next == CharClass::kLetter) {
    return skip(text, first.end, CharClass::kLetter);
  }
  if (first.char_class == CharClass::kOther || (first.code_point == ' ' && next == CharClass::kOther)) {
    return skip(text, skip(text, first.end, CharClass::kOther), CharClass::kNewline);
  }
  return white_end(text, begin);
}

}  // namespace tessera
