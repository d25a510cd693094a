// Little-endian numbers in GGUF files, written and read with a check of what is left.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace tessera {

static_assert(std::endian::native == std::endian::little, "GGUF files are mapped as they are");

template <typename T>
void append_number(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

inline void append_string(std::string* out, std::string_view text) {
  append_number<std::uint64_t>(out, text.size());
  out->append(text);
}

// The number at the front of at least sizeof(T) bytes.
template <typename T>
T load_number(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// Walks over the bytes of a file from its front. Throws Error{kModel} when they end early; `field` is for
// messages and names what is being read.
class GgufCursor {
 public:
  GgufCursor(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }
  std::string_view rest() const { return bytes_.substr(position_); }

  std::string_view take(std::uint64_t count, const std::string& field) {
    if (count > left()) {
      throw Error(ErrorCode::kModel, file_, field,
                  "incomplete file: byte " + std::to_string(position_) + ": needs " + std::to_string(count) +
                      " bytes, " + std::to_string(left()) + " are left");
    }
    const std::string_view taken = bytes_.substr(position_, static_cast<std::size_t>(count));
    position_ += taken.size();
    return taken;
  }

  template <typename T>
  T number(const std::string& field) {
    return load_number<T>(take(sizeof(T), field));
  }

  // A string of min to max bytes with its length in front.
  std::string_view string(std::size_t min, std::size_t max, const std::string& field) {
    const auto length = number<std::uint64_t>(field);
    if (length < min || length > max) {
      throw Error(ErrorCode::kModel, file_, field,
                  "bad length of a string (got " + std::to_string(length) + " bytes, expected " +
                      std::to_string(min) + " to " + std::to_string(max) + ")");
    }
    return take(length, field);
  }

 private:
  std::string_view bytes_;
  const std::string& file_;
  std::size_t position_ = 0;
};

}  // namespace tessera
