#include "models/files/gguf_metadata.h"

#include <charconv>
#include <iterator>
#include <utility>

#include "models/files/gguf_bytes.h"
#include "tensor/error.h"

namespace tessera {
namespace {

struct TypeInfo {
  std::string_view name;
  std::uint64_t bytes;  // of one element; for strings and arrays the least
};

// In the order of GgufType.
constexpr TypeInfo kTypes[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
                               {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 8}, {"array", 12},
                               {"u64", 8}, {"i64", 8}, {"f64", 8}};
constexpr std::size_t kArrayHeader = 12;

const TypeInfo& info_of(GgufType type) { return kTypes[static_cast<std::size_t>(type)]; }

void check_type(std::uint32_t type, const std::string& file, const std::string& key) {
  if (type < std::size(kTypes)) return;
  throw Error(ErrorCode::kModel, file, key,
              "unknown type of a value (got " + std::to_string(type) + ", expected 0 to " +
                  std::to_string(std::size(kTypes) - 1) + ")");
}

void check_bool(char byte, const std::string& file, const std::string& key) {
  const auto value = static_cast<unsigned char>(byte);
  if (value <= 1) return;
  throw Error(ErrorCode::kModel, file, key, "bad bool (got " + std::to_string(value) + ", expected 0 or 1)");
}

void parse_array(GgufCursor& cursor, const std::string& file, const std::string& key) {
  const auto raw = cursor.number<std::uint32_t>(key);
  check_type(raw, file, key);
  const auto type = static_cast<GgufType>(raw);
  if (type == GgufType::kArray) throw Error(ErrorCode::kUnsupported, file, key, "array of arrays");
  const auto count = cursor.number<std::uint64_t>(key);
  if (count > kMaxGgufArray) {
    throw Error(ErrorCode::kModel, file, key,
                "array too long (got " + std::to_string(count) + " elements, limit " +
                    std::to_string(kMaxGgufArray) + ")");
  }
  const std::uint64_t least = count * info_of(type).bytes;  // both are small by now
  if (type != GgufType::kString) {
    const std::string_view elements = cursor.take(least, key);
    if (type == GgufType::kBool) {
      for (const char byte : elements) check_bool(byte, file, key);
    }
    return;
  }
  GgufCursor(cursor.rest(), file).take(least, key);
  for (std::uint64_t i = 0; i < count; ++i) cursor.string(0, kMaxGgufString, key);
}

template <typename T>
std::string bytes_of(T value) {
  std::string bytes;
  append_number(&bytes, value);
  return bytes;
}

std::string array_header(GgufType type, std::size_t count) {
  if (count > kMaxGgufArray) {
    throw Error(ErrorCode::kUsage, "", "GGUF value",
                "array too long (got " + std::to_string(count) + " elements, limit " +
                    std::to_string(kMaxGgufArray) + ")");
  }
  std::string bytes;
  append_number(&bytes, static_cast<std::uint32_t>(type));
  append_number<std::uint64_t>(&bytes, count);
  return bytes;
}

template <typename T>
std::string array_bytes(GgufType type, std::span<const T> values) {
  std::string bytes = array_header(type, values.size());
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return bytes;
}

void append_checked(std::string* out, std::string_view text) {
  if (text.size() > kMaxGgufString) {
    throw Error(ErrorCode::kUsage, "", "GGUF value",
                "string too long (got " + std::to_string(text.size()) + " bytes, limit " +
                    std::to_string(kMaxGgufString) + ")");
  }
  append_string(out, text);
}

bool is_integer(GgufType type) {
  switch (type) {
    case GgufType::kF32:
    case GgufType::kBool:
    case GgufType::kString:
    case GgufType::kArray:
    case GgufType::kF64:
      return false;
    default:
      return true;
  }
}

bool is_number(GgufType type) { return type == GgufType::kF32 || type == GgufType::kF64; }

// The integer of that type at the front of bytes. False when it does not fit.
bool load_integer(GgufType type, std::string_view bytes, std::int64_t* out) {
  switch (type) {
    case GgufType::kU8:
      *out = load_number<std::uint8_t>(bytes);
      break;
    case GgufType::kI8:
      *out = load_number<std::int8_t>(bytes);
      break;
    case GgufType::kU16:
      *out = load_number<std::uint16_t>(bytes);
      break;
    case GgufType::kI16:
      *out = load_number<std::int16_t>(bytes);
      break;
    case GgufType::kU32:
      *out = load_number<std::uint32_t>(bytes);
      break;
    case GgufType::kI32:
      *out = load_number<std::int32_t>(bytes);
      break;
    default:  // i64, and u64 below 2^63
      *out = load_number<std::int64_t>(bytes);
      return type == GgufType::kI64 || *out >= 0;
  }
  return true;
}

double load_float(GgufType type, std::string_view bytes) {
  return type == GgufType::kF32 ? double{load_number<float>(bytes)} : load_number<double>(bytes);
}

std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, std::end(text), value).ptr};
}

std::string describe_scalar(GgufType type, std::string_view bytes) {
  if (is_number(type)) {
    char text[32];
    const auto end = type == GgufType::kF32
                         ? std::to_chars(text, std::end(text), load_number<float>(bytes)).ptr
                         : std::to_chars(text, std::end(text), load_number<double>(bytes)).ptr;
    return {text, end};
  }
  if (type == GgufType::kBool) return bytes[0] ? "true" : "false";
  if (type == GgufType::kU64) return std::to_string(load_number<std::uint64_t>(bytes));
  std::int64_t value = 0;
  load_integer(type, bytes, &value);
  return std::to_string(value);
}

std::int64_t checked_integer(const GgufMetadata& metadata, std::string_view key, GgufType type,
                             std::string_view bytes, std::pair<std::int64_t, std::int64_t> range) {
  std::int64_t value = 0;
  if (!load_integer(type, bytes, &value) || value < range.first || value > range.second) {
    metadata.fail(key, "out of range (got " + describe_scalar(type, bytes) + ", expected " +
                           std::to_string(range.first) + " to " + std::to_string(range.second) + ")");
  }
  return value;
}

double checked_number(const GgufMetadata& metadata, std::string_view key, GgufType type,
                      std::string_view bytes, std::pair<double, double> range) {
  const double value = load_float(type, bytes);
  if (!(value >= range.first && value <= range.second)) {
    metadata.fail(key, "out of range (got " + describe_scalar(type, bytes) + ", expected " +
                           text_of(range.first) + " to " + text_of(range.second) + ")");
  }
  return value;
}

[[noreturn]] void fail_kind(const GgufMetadata& metadata, std::string_view key, const GgufValue& value,
                            const char* expected) {
  std::string got(gguf_type_name(value.type()));
  if (value.type() == GgufType::kArray) {
    got += " of ";
    got += gguf_type_name(value.element_type());
  }
  metadata.fail(key, "wrong type (got " + got + ", expected " + expected + ")");
}

// The elements of an array whose type `accepts`.
template <typename Accepts>
std::string_view elements(const GgufMetadata& metadata, std::string_view key, const GgufValue& value,
                          Accepts accepts, const char* expected) {
  if (value.type() != GgufType::kArray || !accepts(value.element_type())) {
    fail_kind(metadata, key, value, expected);
  }
  return value.bytes().substr(kArrayHeader);
}

}  // namespace

std::string_view gguf_type_name(GgufType type) { return info_of(type).name; }

GgufValue GgufValue::of_u32(std::uint32_t value) { return {GgufType::kU32, bytes_of(value)}; }
GgufValue GgufValue::of_i32(std::int32_t value) { return {GgufType::kI32, bytes_of(value)}; }
GgufValue GgufValue::of_u64(std::uint64_t value) { return {GgufType::kU64, bytes_of(value)}; }
GgufValue GgufValue::of_f32(float value) { return {GgufType::kF32, bytes_of(value)}; }
GgufValue GgufValue::of_bool(bool value) { return {GgufType::kBool, std::string(1, value ? '\1' : '\0')}; }

GgufValue GgufValue::of_string(std::string_view value) {
  std::string bytes;
  append_checked(&bytes, value);
  return {GgufType::kString, std::move(bytes)};
}

GgufValue GgufValue::of_i32s(std::span<const std::int32_t> values) {
  return {GgufType::kArray, array_bytes(GgufType::kI32, values)};
}

GgufValue GgufValue::of_u64s(std::span<const std::uint64_t> values) {
  return {GgufType::kArray, array_bytes(GgufType::kU64, values)};
}

GgufValue GgufValue::of_f32s(std::span<const float> values) {
  return {GgufType::kArray, array_bytes(GgufType::kF32, values)};
}

GgufValue GgufValue::of_bools(const std::vector<bool>& values) {
  std::string bytes = array_header(GgufType::kBool, values.size());
  for (const bool value : values) bytes += value ? '\1' : '\0';
  return {GgufType::kArray, std::move(bytes)};
}

GgufValue GgufValue::of_strings(std::span<const std::string> values) {
  std::string bytes = array_header(GgufType::kString, values.size());
  for (const std::string& value : values) append_checked(&bytes, value);
  return {GgufType::kArray, std::move(bytes)};
}

GgufValue GgufValue::parse(GgufType type, std::string_view bytes, const std::string& file,
                           const std::string& key) {
  check_type(static_cast<std::uint32_t>(type), file, key);
  GgufCursor cursor(bytes, file);
  if (type == GgufType::kArray) {
    parse_array(cursor, file, key);
  } else if (type == GgufType::kString) {
    cursor.string(0, kMaxGgufString, key);
  } else {
    const std::string_view scalar = cursor.take(info_of(type).bytes, key);
    if (type == GgufType::kBool) check_bool(scalar[0], file, key);
  }
  return {type, std::string(bytes.substr(0, cursor.position()))};
}

GgufType GgufValue::element_type() const {
  TESSERA_CHECK(type_ == GgufType::kArray);
  return static_cast<GgufType>(load_number<std::uint32_t>(bytes_));
}

std::uint64_t GgufValue::count() const {
  TESSERA_CHECK(type_ == GgufType::kArray);
  return load_number<std::uint64_t>(std::string_view(bytes_).substr(4));
}

std::string GgufValue::describe() const {
  if (type_ == GgufType::kString) return '"' + escape(bytes().substr(8), 100) + '"';
  if (type_ != GgufType::kArray) return describe_scalar(type_, bytes_);
  return "array of " + std::to_string(count()) + ' ' + std::string(gguf_type_name(element_type()));
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &items_[found->second].value;
}

const GgufValue& GgufMetadata::at(std::string_view key) const {
  const GgufValue* const value = find(key);
  if (!value) fail(key, "missing");
  return *value;
}

std::int64_t GgufMetadata::integer(std::string_view key, std::int64_t min, std::int64_t max) const {
  const GgufValue& value = at(key);
  if (!is_integer(value.type())) fail_kind(*this, key, value, "an integer");
  return checked_integer(*this, key, value.type(), value.bytes(), {min, max});
}

double GgufMetadata::number(std::string_view key, double min, double max) const {
  const GgufValue& value = at(key);
  if (!is_number(value.type())) fail_kind(*this, key, value, "f32 or f64");
  return checked_number(*this, key, value.type(), value.bytes(), {min, max});
}

bool GgufMetadata::boolean(std::string_view key) const {
  const GgufValue& value = at(key);
  if (value.type() != GgufType::kBool) fail_kind(*this, key, value, "bool");
  return value.bytes()[0] != 0;
}

std::string GgufMetadata::string(std::string_view key) const {
  const GgufValue& value = at(key);
  if (value.type() != GgufType::kString) fail_kind(*this, key, value, "string");
  return std::string(value.bytes().substr(8));
}

std::vector<std::int64_t> GgufMetadata::integers(std::string_view key, std::int64_t min,
                                                 std::int64_t max) const {
  const GgufValue& value = at(key);
  std::string_view rest = elements(*this, key, value, is_integer, "array of integers");
  std::vector<std::int64_t> out;
  out.reserve(static_cast<std::size_t>(value.count()));
  while (!rest.empty()) {
    out.push_back(checked_integer(*this, key, value.element_type(), rest, {min, max}));
    rest.remove_prefix(info_of(value.element_type()).bytes);
  }
  return out;
}

std::vector<double> GgufMetadata::numbers(std::string_view key, double min, double max) const {
  const GgufValue& value = at(key);
  std::string_view rest = elements(*this, key, value, is_number, "array of f32 or f64");
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(value.count()));
  while (!rest.empty()) {
    out.push_back(checked_number(*this, key, value.element_type(), rest, {min, max}));
    rest.remove_prefix(info_of(value.element_type()).bytes);
  }
  return out;
}

std::vector<bool> GgufMetadata::booleans(std::string_view key) const {
  const auto is_bool = [](GgufType type) { return type == GgufType::kBool; };
  const std::string_view bytes = elements(*this, key, at(key), is_bool, "array of bool");
  return std::vector<bool>(bytes.begin(), bytes.end());
}

std::vector<std::string> GgufMetadata::strings(std::string_view key) const {
  const auto is_string = [](GgufType type) { return type == GgufType::kString; };
  const GgufValue& value = at(key);
  GgufCursor cursor(elements(*this, key, value, is_string, "array of string"), file_);
  std::vector<std::string> out;
  out.reserve(static_cast<std::size_t>(value.count()));
  const std::string field(key);
  while (cursor.left() > 0) out.emplace_back(cursor.string(0, kMaxGgufString, field));
  return out;
}

std::optional<std::int64_t> GgufMetadata::find_integer(std::string_view key, std::int64_t min,
                                                       std::int64_t max) const {
  return contains(key) ? std::optional(integer(key, min, max)) : std::nullopt;
}

std::optional<double> GgufMetadata::find_number(std::string_view key, double min, double max) const {
  return contains(key) ? std::optional(number(key, min, max)) : std::nullopt;
}

std::optional<bool> GgufMetadata::find_boolean(std::string_view key) const {
  return contains(key) ? std::optional(boolean(key)) : std::nullopt;
}

std::optional<std::string> GgufMetadata::find_string(std::string_view key) const {
  return contains(key) ? std::optional(string(key)) : std::nullopt;
}

void GgufMetadata::set(const std::string& key, GgufValue value) {
  if (key.empty() || key.size() > kMaxGgufKey) {
    throw Error(ErrorCode::kUsage, file_, key.substr(0, 100),
                "bad key (got " + std::to_string(key.size()) + " bytes, expected 1 to " +
                    std::to_string(kMaxGgufKey) + ")");
  }
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    items_[found->second].value = std::move(value);
    return;
  }
  if (items_.size() == kMaxGgufKeys) {
    throw Error(ErrorCode::kUsage, file_, key, "too many keys (limit " + std::to_string(kMaxGgufKeys) + ")");
  }
  by_key_.emplace(key, items_.size());
  items_.push_back({key, std::move(value)});
}

void GgufMetadata::remove(std::string_view key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  const std::size_t index = found->second;
  by_key_.erase(found);
  items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(index));
  for (auto& [name, at] : by_key_) at -= at > index;
}

void GgufMetadata::fail(std::string_view key, const std::string& reason) const {
  throw Error(ErrorCode::kModel, file_, std::string(key), reason);
}

}  // namespace tessera
