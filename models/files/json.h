// JSON from files that nobody vouches for: parsing within limits, and typed access that names the key.
//
// Every error is Error{kModel}. Its field is the key path ("text_config.rope_scaling.mrope_section[1]");
// a syntax error's reason begins with "line L, column C, byte B: ", all of the byte that was read last;
// lines and columns count from 1, columns in bytes, byte offsets from 0.
// Private: nlohmann stays out of public headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// Limits of reliability.md §3.0.
inline constexpr std::size_t kMaxJsonDepth = 64;
inline constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20;
inline constexpr std::size_t kMaxTokenizerBytes = std::size_t{256} << 20;

// A whole regular, non-empty file of at most max_bytes.
std::string read_text_file(const std::string& path, std::size_t max_bytes);

// One document with nothing but white space after it. Refused: a byte order mark, NUL, invalid UTF-8,
// duplicate keys, numbers that overflow a double, NaN and Infinity literals, more than max_values values, and
// nesting deeper than kMaxJsonDepth (while parsing, so the result is safe to copy and to destroy). `file` is
// for messages.
inline constexpr std::size_t kMaxJsonValues = std::size_t{4} << 20;
nlohmann::json parse_json(std::string_view text, const std::string& file,
                          std::size_t max_values = kMaxJsonValues);

// parse_json of a file. It may hold one value for each 64 bytes of max_bytes: an empty array takes that much
// memory and two bytes of text.
nlohmann::json read_json_file(const std::string& path, std::size_t max_bytes);

// As parse_json for a document that must be an object, without keeping it: `member` is called with each
// member of the outermost object, in order, as soon as it is complete. A member of more than
// kMaxMemberValues values is refused. Duplicates among the outermost keys are for the caller to find.
// `file_offset` is where text begins in its file and is added to the byte offsets of messages.
inline constexpr std::size_t kMaxMemberValues = 65536;
using JsonMember = std::function<void(const std::string& key, const nlohmann::json& value)>;
void parse_json_members(std::string_view text, const std::string& file, std::size_t file_offset,
                        const JsonMember& member);

// A JSON object inside a file, read by key. It views `value`, which must outlive it.
//
// A getter throws when its key is missing, null, of another JSON type (4096.0 and "4096" are no integers) or
// outside [min, max]; a find_ getter returns nothing when the key is missing or null and throws otherwise.
class JsonObject {
 public:
  // `path` is the key path of value, empty for the whole file. Throws when value is no object.
  JsonObject(const nlohmann::json& value, std::string file, std::string path = "");

  // The raw value; nullptr when the key is missing or null.
  const nlohmann::json* find(std::string_view key) const;
  // The raw value, which must be there and not null.
  const nlohmann::json& at(std::string_view key) const;

  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  double number(std::string_view key, double min, double max) const;
  bool boolean(std::string_view key) const;
  std::string string(std::string_view key) const;
  JsonObject object(std::string_view key) const;
  const nlohmann::json& array(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::vector<double> numbers(std::string_view key, double min, double max) const;

  std::optional<std::int64_t> find_integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::optional<double> find_number(std::string_view key, double min, double max) const;
  std::optional<bool> find_boolean(std::string_view key) const;
  std::optional<std::string> find_string(std::string_view key) const;
  std::optional<JsonObject> find_object(std::string_view key) const;

  const nlohmann::json& value() const { return *value_; }
  const std::string& file() const { return file_; }
  // The key path of a member, for messages.
  std::string path(std::string_view key) const;
  // Throws Error{kModel, file, path(key), reason}.
  [[noreturn]] void fail(std::string_view key, const std::string& reason) const;

 private:
  const nlohmann::json* value_;
  std::string file_, path_;
};

// A value for a message: scalars as JSON (cut at 100 bytes), "an array", "an object".
std::string describe(const nlohmann::json& value);

}  // namespace tessera
