#include "models/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "tensor/error.h"

namespace tessera::unicode {
namespace {

constexpr Sequence kBadByte = {SequenceKind::kInvalid, 1, 0xFFFD};

// Lead bytes 0xC2 … 0xF4: length of the sequence and the range of its second byte.
struct Lead {
  std::uint8_t length, second_min, second_max;
};
Lead lead_of(unsigned char byte) {
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0) {
    const std::uint8_t min = byte == 0xE0 ? 0xA0 : 0x80;
    const std::uint8_t max = byte == 0xED ? 0x9F : 0xBF;
    return {3, min, max};
  }
  const std::uint8_t min = byte == 0xF0 ? 0x90 : 0x80;
  const std::uint8_t max = byte == 0xF4 ? 0x8F : 0xBF;
  return {4, min, max};
}

void append_utf8(char32_t code_point, std::string& out) {
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
}

// Sorts each run of combining marks by combining class, equal classes in their old order.
void order_marks(std::vector<utf8proc_int32_t>& points) {
  struct Mark {
    utf8proc_propval_t ccc;
    utf8proc_int32_t point;
  };
  std::vector<Mark> run;
  for (std::size_t i = 0; i < points.size();) {
    run.clear();
    bool sorted = true;
    for (std::size_t j = i; j < points.size(); ++j) {
      const auto ccc = utf8proc_get_property(points[j])->combining_class;
      if (ccc == 0) break;
      if (!run.empty() && ccc < run.back().ccc) sorted = false;
      run.push_back({ccc, points[j]});
    }
    if (!sorted) {
      std::stable_sort(run.begin(), run.end(), [](const Mark& a, const Mark& b) { return a.ccc < b.ccc; });
      for (std::size_t k = 0; k < run.size(); ++k) points[i + k] = run[k].point;
    }
    i += run.size() + 1;
  }
}

void append_normalized(std::string_view text, std::string& out) {
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Sequence s = sequence_at(text, at);
    at += s.bytes;
    // One code point decomposes into at most 4 (Unicode's own bound for NFD of a code point).
    utf8proc_int32_t parts[8];
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(s.code_point), parts, 8,
                                           UTF8PROC_DECOMPOSE, nullptr);
    TESSERA_CHECK(n > 0 && n <= 8);
    points.insert(points.end(), parts, parts + n);
  }
  order_marks(points);
  const auto length =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  TESSERA_CHECK(length >= 0);
  points.resize(static_cast<std::size_t>(length));
  for (const utf8proc_int32_t point : points) append_utf8(static_cast<char32_t>(point), out);
}

// Every code point below U+0300 is a starter that nothing composes with from the right, and is its own NFC.
bool below_u0300(char c) { return static_cast<unsigned char>(c) < 0xCC; }

}  // namespace

Sequence sequence_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {SequenceKind::kValid, 1, first};
  if (first < 0xC2 || first > 0xF4) return kBadByte;
  const Lead lead = lead_of(first);
  char32_t point = first & (0x7Fu >> lead.length);
  for (std::uint8_t i = 1; i < lead.length; ++i) {
    if (at + i == text.size()) return {SequenceKind::kIncomplete, i, 0xFFFD};
    const unsigned char min = i == 1 ? lead.second_min : 0x80;
    const unsigned char max = i == 1 ? lead.second_max : 0xBF;
    if (byte(i) < min || byte(i) > max) return {SequenceKind::kInvalid, i, 0xFFFD};
    point = (point << 6) | (byte(i) & 0x3Fu);
  }
  return {SequenceKind::kValid, lead.length, point};
}

std::size_t find_invalid(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Sequence s = sequence_at(text, at);
    if (s.kind != SequenceKind::kValid) return at;
    at += s.bytes;
  }
  return std::string_view::npos;
}

std::string replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Sequence s = sequence_at(text, at);
    out += s.kind == SequenceKind::kValid ? text.substr(at, s.bytes) : kReplacement;
    at += s.bytes;
  }
  return out;
}

void append_nfc(std::string_view text, std::string& out) {
  if (std::all_of(text.begin(), text.end(), below_u0300)) {
    out += text;
    return;
  }
  // utf8proc 2.8 drops U+11A7 after a Hangul syllable, as if it were the final consonant number 0. It
  // composes with nothing on either side, so the text can be cut around it.
  constexpr std::string_view cut = "\xE1\x86\xA7";
  for (;;) {
    const std::size_t at = text.find(cut);
    append_normalized(text.substr(0, at), out);
    if (at == std::string_view::npos) return;
    out += cut;
    text.remove_prefix(at + cut.size());
  }
}

CharClass classify(char32_t code_point) {
  if (code_point == '\r' || code_point == '\n') return CharClass::kNewline;
  if (code_point == ' ' || (code_point >= '\t' && code_point <= '\r') || code_point == 0x85) {
    return CharClass::kSpace;
  }
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return CharClass::kSpace;
    default:
      return CharClass::kOther;
  }
}

}  // namespace tessera::unicode
