// GgufMetadata: the keys and values of a GGUF file, read with types and ranges, kept as the file spells them.
//
// Source: ggml docs/gguf.md. Limits: reliability.md §3.0. All numbers are little endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/api.h"

namespace tessera {

inline constexpr std::size_t kMaxGgufKeys = 65536;
inline constexpr std::size_t kMaxGgufKey = 65535;                        // bytes
inline constexpr std::size_t kMaxGgufString = std::size_t{16} << 20;     // bytes
inline constexpr std::uint64_t kMaxGgufArray = std::uint64_t{64} << 20;  // elements

enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,    // one byte, 0 or 1
  kString = 8,  // u64 length in bytes, then the bytes; no terminator
  kArray = 9,   // u32 type of the elements, u64 count, elements; arrays of arrays are refused
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// "u32", "string", … for messages.
TESSERA_API std::string_view gguf_type_name(GgufType type);

// One value. Values that are equal byte by byte are equal.
class TESSERA_API GgufValue {
 public:
  static GgufValue of_u32(std::uint32_t value);
  static GgufValue of_i32(std::int32_t value);
  static GgufValue of_u64(std::uint64_t value);
  static GgufValue of_f32(float value);
  static GgufValue of_bool(bool value);
  // Throw Error{kUsage} beyond kMaxGgufString and kMaxGgufArray.
  static GgufValue of_string(std::string_view value);
  static GgufValue of_i32s(std::span<const std::int32_t> values);
  static GgufValue of_u64s(std::span<const std::uint64_t> values);
  static GgufValue of_f32s(std::span<const float> values);
  static GgufValue of_bools(const std::vector<bool>& values);
  static GgufValue of_strings(std::span<const std::string> values);

  // The value at the front of `bytes`, which are what a file holds behind the type. Throws Error{kModel}, or
  // Error{kUnsupported} for an array of arrays; `file` and `key` are for messages.
  static GgufValue parse(GgufType type, std::string_view bytes, const std::string& file,
                         const std::string& key);

  GgufType type() const { return type_; }
  // For arrays.
  GgufType element_type() const;
  std::uint64_t count() const;
  // As in a file, behind the type.
  std::string_view bytes() const { return bytes_; }
  // For messages and listings: "28", "\"qwen3vl\"" (cut at 100 bytes), "array of 768 strings".
  std::string describe() const;
  friend bool operator==(const GgufValue&, const GgufValue&) = default;

 private:
  GgufValue(GgufType type, std::string bytes) : type_(type), bytes_(std::move(bytes)) {}

  GgufType type_;
  std::string bytes_;  // complete and valid
};

// Keys in the order of the file.
//
// A getter throws Error{kModel} with file and key when the key is missing, of another kind, or outside
// [min, max]; a find_ getter returns nothing when the key is missing and throws otherwise. Integers may be
// stored in any integer type, numbers as f32 or f64.
class TESSERA_API GgufMetadata {
 public:
  struct Item {
    std::string key;  // may hold control characters: escape() before printing
    GgufValue value;
  };

  // `file` is for messages.
  explicit GgufMetadata(std::string file = "") : file_(std::move(file)) {}

  const std::string& file() const { return file_; }
  std::span<const Item> items() const { return items_; }
  // nullptr when there is no such key.
  const GgufValue* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }

  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  double number(std::string_view key, double min, double max) const;
  bool boolean(std::string_view key) const;
  std::string string(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::vector<double> numbers(std::string_view key, double min, double max) const;
  std::vector<bool> booleans(std::string_view key) const;
  std::vector<std::string> strings(std::string_view key) const;

  std::optional<std::int64_t> find_integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::optional<double> find_number(std::string_view key, double min, double max) const;
  std::optional<bool> find_boolean(std::string_view key) const;
  std::optional<std::string> find_string(std::string_view key) const;

  // Replaces the value of the key where it stands, or appends. Throws Error{kUsage} for an empty key, one
  // longer than kMaxGgufKey, and more than kMaxGgufKeys keys.
  void set(const std::string& key, GgufValue value);
  // Does nothing when there is no such key.
  void remove(std::string_view key);

  // Throws Error{kModel, file(), key, reason}.
  [[noreturn]] void fail(std::string_view key, const std::string& reason) const;

 private:
  const GgufValue& at(std::string_view key) const;

  std::string file_;
  std::vector<Item> items_;
  std::map<std::string, std::size_t, std::less<>> by_key_;  // indices of items_
};

}  // namespace tessera
