// The one error type of the library, and the arithmetic that must not wrap.
//
// Errors are thrown while loading, building a graph or planning; never across an OpenMP region and never
// from a kernel. The library does not print, abort or exit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "tensor/api.h"

namespace tessera {

// What went wrong. The values are the exit codes of the programs (design.md §3, reliability.md §3.0).
enum class ErrorCode : int {
  kInternal = 1,     // a bug of ours
  kUsage = 2,        // an argument or setting outside its range
  kModel = 3,        // a model file is missing, malformed or corrupt
  kUnsupported = 4,  // a valid model that this library cannot run
  kInput = 5,        // a picture, video or prompt is rejected
  kResource = 6,     // out of memory or over a configured limit
  kOutput = 7,       // output cannot be read or written
};

// "file: field: reason", where empty parts are left out. Reasons end in "(got X, expected Y)" where both
// are known. what() holds printable characters only: text that came from a file is escaped.
class TESSERA_API Error : public std::exception {
 public:
  Error(ErrorCode code, std::string file, std::string field, std::string reason);
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorCode code() const noexcept { return code_; }
  const std::string& file() const noexcept { return file_; }
  const std::string& field() const noexcept { return field_; }
  const std::string& reason() const noexcept { return reason_; }

 private:
  ErrorCode code_;
  std::string file_, field_, reason_, message_;
};

// Control characters, DEL and invalid UTF-8 bytes become \n, \t, \xNN; at most max_bytes of text are
// kept, "…" marks a cut.
TESSERA_API std::string escape(std::string_view text, std::size_t max_bytes = 300);

// Ends in Error{kInternal} naming the place. For our own bugs only, never for outside data.
[[noreturn]] TESSERA_API void check_failed(const char* condition, const char* file, int line);
#define TESSERA_CHECK(condition) \
  ((condition) ? void(0) : ::tessera::check_failed(#condition, __FILE__, __LINE__))

// a + b and a * b for numbers that came from outside. True and *out set when the result fits; false when
// it would wrap.
inline bool checked_add(std::uint64_t a, std::uint64_t b, std::uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}
inline bool checked_mul(std::uint64_t a, std::uint64_t b, std::uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}

}  // namespace tessera
