#include "models/files/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <utility>

#include "tensor/buffer.h"
#include "tensor/error.h"

namespace tessera {
namespace {

using nlohmann::json;

std::string index_text(std::size_t index) { return std::string(1, '[').append(std::to_string(index)) + ']'; }

// Walks over the text and tells the handler how far the parser has read: its events carry no position.
class TracedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TracedIterator(const char* at, const char** read) : at_(at), read_(read) {}
  reference operator*() const { return *at_; }
  TracedIterator& operator++() {
    *read_ = ++at_;
    return *this;
  }
  TracedIterator operator++(int) {
    const TracedIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const TracedIterator& a, const TracedIterator& b) { return a.at_ == b.at_; }

 private:
  const char* at_;
  const char** read_;
};

// The SAX handler behind both parse functions: builds the document under the limits.
class Builder {
 public:
  // With `member`: parse_json_members, where max_values counts within one member.
  Builder(std::string_view text, const std::string& file, std::size_t max_values,
          const JsonMember* member = nullptr, std::size_t file_offset = 0)
      : text_(text),
        file_(file),
        max_values_(max_values),
        member_(member),
        file_offset_(file_offset),
        read_(text.data()) {}

  json run() {
    if (text_.empty()) throw Error(ErrorCode::kModel, file_, "", "empty file");
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") fail_here("byte order mark, expected plain UTF-8");
    if (const auto nul = text_.find('\0'); nul != text_.npos) {
      read_ = text_.data() + nul + 1;
      fail_here("NUL byte");
    }
    const char* const begin = text_.data();
    json::sax_parse(TracedIterator(begin, &read_), TracedIterator(begin + text_.size(), &read_), this);
    return std::move(root_);
  }

  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(std::int64_t value) { return scalar(value); }
  bool number_unsigned(std::uint64_t value) { return scalar(value); }
  bool number_float(double value, const std::string&) { return scalar(value); }
  bool string(std::string& value) { return scalar(std::move(value)); }
  bool binary(json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(json::object()); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    auto& members = open_.back().value->get_ref<json::object_t&>();
    const auto [entry, is_new] = members.try_emplace(std::move(name));
    open_.back().member = &*entry;
    if (!is_new) fail_here("duplicate key");
    return true;
  }

  template <typename Exception>
  bool parse_error(std::size_t, const std::string&, const Exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error …": our own position
    // is exact for every event, so only the explanation is taken.
    std::string_view text = error.what();
    if (const auto end = text.find("] "); end != text.npos) text.remove_prefix(end + 2);
    if (text.substr(0, 11) == "parse error") {
      if (const auto end = text.find(": "); end != text.npos) text.remove_prefix(end + 2);
    }
    fail_here(escape(text));
  }

 private:
  struct Level {
    json* value;                                           // an open object or array
    std::pair<const std::string, json>* member = nullptr;  // the newest one of an object
  };

  // Puts a value where the document continues.
  json* add(json&& value) {
    if (values_++ == max_values_) fail_here("more than " + std::to_string(max_values_) + " values");
    if (open_.empty()) {
      if (member_ && !value.is_object()) {
        fail_here("got " + describe(value) + ", expected an object");
      }
      root_ = std::move(value);
      return &root_;
    }
    Level& top = open_.back();
    if (top.value->is_array()) {
      top.value->push_back(std::move(value));
      return &top.value->back();
    }
    top.member->second = std::move(value);
    return &top.member->second;
  }

  bool scalar(json&& value) {
    add(std::move(value));
    return completed();
  }

  bool open(json&& empty) {
    if (open_.size() == kMaxJsonDepth) {
      fail_here("nesting deeper than " + std::to_string(kMaxJsonDepth));
    }
    open_.push_back({add(std::move(empty))});
    return true;
  }

  bool close() {
    open_.pop_back();
    return completed();
  }

  bool completed() {
    if (!member_ || open_.size() != 1) return true;
    (*member_)(open_.back().member->first, open_.back().member->second);
    root_.clear();
    open_.back().member = nullptr;
    values_ = 0;
    return true;
  }

  [[noreturn]] void fail_here(const std::string& reason) const {
    const std::string_view before = text_.substr(0, static_cast<std::size_t>(read_ - text_.data()));
    const std::size_t at = before.empty() ? 0 : before.size() - 1;
    const std::string_view earlier = before.substr(0, at);
    const auto line = std::count(earlier.begin(), earlier.end(), '\n') + 1;
    const auto line_start = earlier.rfind('\n');
    const std::size_t column = at - (line_start == earlier.npos ? 0 : line_start + 1) + 1;
    std::string path;
    for (const Level& level : open_) {
      if (level.value->is_array()) {
        path += index_text(level.value->size());
      } else if (level.member) {
        if (!path.empty()) path += '.';
        path += level.member->first;
      }
    }
    throw Error(ErrorCode::kModel, file_, path,
                "line " + std::to_string(line) + ", column " + std::to_string(column) + ", byte " +
                    std::to_string(file_offset_ + at) + ": " + reason);
  }

  std::string_view text_;
  const std::string& file_;
  std::size_t max_values_;
  const JsonMember* member_;  // null: the whole document is kept
  std::size_t file_offset_;
  const char* read_;  // one past the byte that the parser read last
  json root_;
  std::vector<Level> open_;
  std::size_t values_ = 0;
};

Buffer map_text(const std::string& path, std::size_t max_bytes) {
  Buffer file = Buffer::map_file(path);
  if (file.size() == 0) throw Error(ErrorCode::kModel, path, "", "empty file");
  if (file.size() > max_bytes) {
    throw Error(ErrorCode::kModel, path, "",
                "file too large (got " + std::to_string(file.size()) + " bytes, limit " +
                    std::to_string(max_bytes) + ")");
  }
  return file;
}

std::string_view text_of(const Buffer& file) {
  return {reinterpret_cast<const char*>(file.data()), file.size()};
}

std::string to_text(double value) {
  std::array<char, 32> digits;
  return {digits.data(), std::to_chars(digits.begin(), digits.end(), value).ptr};
}

template <typename Number>
std::string got_expected(const json& value, const char* type, Number min, Number max) {
  const auto text = [](Number n) {
    if constexpr (std::is_integral_v<Number>) {
      return std::to_string(n);
    } else {
      return to_text(n);
    }
  };
  return "bad value (got " + describe(value) + ", expected " + type + " from " + text(min) + " to " +
         text(max) + ")";
}

// The value as an integer in [min, max], or nothing.
std::optional<std::int64_t> as_integer(const json& value, std::int64_t min, std::int64_t max) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX})
    return std::nullopt;
  const auto number = value.get<std::int64_t>();
  if (number < min || number > max) return std::nullopt;
  return number;
}

std::optional<double> as_number(const json& value, double min, double max) {
  if (!value.is_number()) return std::nullopt;
  const auto number = value.get<double>();
  if (!(number >= min && number <= max)) return std::nullopt;
  return number;
}

}  // namespace

std::string read_text_file(const std::string& path, std::size_t max_bytes) {
  return std::string(text_of(map_text(path, max_bytes)));
}

json parse_json(std::string_view text, const std::string& file, std::size_t max_values) {
  return Builder(text, file, max_values).run();
}

json read_json_file(const std::string& path, std::size_t max_bytes) {
  const Buffer file = map_text(path, max_bytes);
  return parse_json(text_of(file), path, max_bytes / 64);
}

void parse_json_members(std::string_view text, const std::string& file, std::size_t file_offset,
                        const JsonMember& member) {
  Builder(text, file, kMaxMemberValues, &member, file_offset).run();
}

std::string describe(const json& value) {
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  constexpr std::size_t kLimit = 100;
  if (!value.is_string()) return value.dump();
  std::string out(1, '"');
  return out.append(escape(value.get_ref<const std::string&>(), kLimit)).append(1, '"');
}

JsonObject::JsonObject(const json& value, std::string file, std::string path)
    : value_(&value), file_(std::move(file)), path_(std::move(path)) {
  if (!value.is_object()) {
    throw Error(ErrorCode::kModel, file_, path_,
                "wrong type (got " + describe(value) + ", expected an object)");
  }
}

const json* JsonObject::find(std::string_view key) const {
  const auto entry = value_->find(key);
  return entry == value_->end() || entry->is_null() ? nullptr : &*entry;
}

const json& JsonObject::at(std::string_view key) const {
  const auto entry = value_->find(key);
  if (entry == value_->end()) fail(key, "missing");
  if (entry->is_null()) fail(key, "bad value (got null)");
  return *entry;
}

std::int64_t JsonObject::integer(std::string_view key, std::int64_t min, std::int64_t max) const {
  const auto number = as_integer(at(key), min, max);
  if (!number) fail(key, got_expected(at(key), "an integer", min, max));
  return *number;
}

double JsonObject::number(std::string_view key, double min, double max) const {
  const auto number = as_number(at(key), min, max);
  if (!number) fail(key, got_expected(at(key), "a number", min, max));
  return *number;
}

bool JsonObject::boolean(std::string_view key) const {
  if (!at(key).is_boolean()) fail(key, "wrong type (got " + describe(at(key)) + ", expected true or false)");
  return at(key).get<bool>();
}

std::string JsonObject::string(std::string_view key) const {
  if (!at(key).is_string()) fail(key, "wrong type (got " + describe(at(key)) + ", expected a string)");
  return at(key).get<std::string>();
}

JsonObject JsonObject::object(std::string_view key) const { return {at(key), file_, path(key)}; }

const json& JsonObject::array(std::string_view key) const {
  if (!at(key).is_array()) fail(key, "wrong type (got " + describe(at(key)) + ", expected an array)");
  return at(key);
}

std::vector<std::int64_t> JsonObject::integers(std::string_view key, std::int64_t min,
                                               std::int64_t max) const {
  std::vector<std::int64_t> out;
  for (const json& element : array(key)) {
    const auto number = as_integer(element, min, max);
    if (!number) {
      fail(std::string(key) + index_text(out.size()), got_expected(element, "an integer", min, max));
    }
    out.push_back(*number);
  }
  return out;
}

std::vector<double> JsonObject::numbers(std::string_view key, double min, double max) const {
  std::vector<double> out;
  for (const json& element : array(key)) {
    const auto number = as_number(element, min, max);
    if (!number) {
      fail(std::string(key) + index_text(out.size()), got_expected(element, "a number", min, max));
    }
    out.push_back(*number);
  }
  return out;
}

std::optional<std::int64_t> JsonObject::find_integer(std::string_view key, std::int64_t min,
                                                     std::int64_t max) const {
  return find(key) ? std::optional(integer(key, min, max)) : std::nullopt;
}

std::optional<double> JsonObject::find_number(std::string_view key, double min, double max) const {
  return find(key) ? std::optional(number(key, min, max)) : std::nullopt;
}

std::optional<bool> JsonObject::find_boolean(std::string_view key) const {
  return find(key) ? std::optional(boolean(key)) : std::nullopt;
}

std::optional<std::string> JsonObject::find_string(std::string_view key) const {
  return find(key) ? std::optional(string(key)) : std::nullopt;
}

std::optional<JsonObject> JsonObject::find_object(std::string_view key) const {
  return find(key) ? std::optional(object(key)) : std::nullopt;
}

std::string JsonObject::path(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void JsonObject::fail(std::string_view key, const std::string& reason) const {
  throw Error(ErrorCode::kModel, file_, path(key), reason);
}

}  // namespace tessera
