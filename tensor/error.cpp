#include "tensor/error.h"

namespace tessera {
namespace {

// Length of the valid UTF-8 sequence at the front of text, 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  auto tail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first < 0xF0 && tail(1) && tail(2)) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) >= 0xA0;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xF0 && first < 0xF5 && tail(1) && tail(2) && tail(3)) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool too_big = first == 0xF4 && byte(1) >= 0x90;
    return overlong || too_big ? 0 : 4;
  }
  return 0;
}

void append_hex(std::string& out, unsigned char byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += "\\x";
  out += digits[byte >> 4];
  out += digits[byte & 15];
}

}  // namespace

std::string escape(std::string_view text, std::size_t max_bytes) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= max_bytes) return out + "…";
    const auto c = static_cast<unsigned char>(text[0]);
    std::size_t n = utf8_length(text);
    const bool c1_control = n == 2 && c == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (n == 0 || c < 0x20 || c == 0x7F || c1_control) {
      append_hex(out, c);
      n = 1;
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n);
  }
  return out;
}

Error::Error(ErrorCode code, std::string file, std::string field, std::string reason)
    : code_(code), file_(std::move(file)), field_(std::move(field)), reason_(std::move(reason)) {
  for (const std::string* part : {&file_, &field_, &reason_}) {
    if (part->empty()) continue;
    if (!message_.empty()) message_ += ": ";
    message_ += escape(*part, 1000);
  }
}

void check_failed(const char* condition, const char* file, int line) {
  throw Error(ErrorCode::kInternal, file, "line " + std::to_string(line),
              std::string("check failed: ") + condition);
}

}  // namespace tessera
