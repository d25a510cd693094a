#include "models/files/gguf.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "models/files/gguf_bytes.h"
#include "models/files/gguf_types.h"
#include "tensor/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// The least that a key and a tensor take in a header.
constexpr std::uint64_t kMinKeyBytes = 8 + 1 + 4 + 1, kMinTensorBytes = 8 + 1 + 4 + 4 + 8;

constexpr std::string_view kSplitNumber = "split.no", kSplitCount = "split.count",
                           kSplitTensors = "split.tensors.count", kAlignmentKey = "general.alignment";

[[noreturn]] void fail(const std::string& file, const std::string& field, const std::string& reason) {
  throw Error(ErrorCode::kModel, file, field, reason);
}

std::string got(std::uint64_t value) { return "(got " + std::to_string(value) + ", "; }

void check_version(std::uint32_t version, const std::string& file) {
  if (version == 2 || version == 3) return;
  const bool swapped = version != 0 && (version & 0xFFFF) == 0;
  throw Error(ErrorCode::kUnsupported, file, "version",
              std::string("unknown version of GGUF") + (swapped ? ", big-endian? " : " ") + got(version) +
                  "expected 2 or 3)");
}

// A count that the rest of the file can hold.
std::uint64_t read_count(GgufCursor& cursor, const std::string& file, const std::string& field,
                         std::uint64_t limit, std::uint64_t element_bytes) {
  const auto count = cursor.number<std::uint64_t>(field);
  if (count > limit) fail(file, field, "too many " + got(count) + "limit " + std::to_string(limit) + ")");
  if (count > cursor.left() / element_bytes) {
    fail(file, field,
         "incomplete file: " + std::to_string(count) + " need " + std::to_string(count * element_bytes) +
             " bytes or more, " + std::to_string(cursor.left()) + " are left");
  }
  return count;
}

GgufMetadata read_metadata(GgufCursor& cursor, std::uint64_t count, const std::string& file,
                           std::vector<std::string>* warnings) {
  GgufMetadata metadata(file);
  std::string foreign;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string key(cursor.string(1, kMaxGgufKey, "key " + std::to_string(i)));
    if (metadata.contains(key)) fail(file, key, "key occurs twice");
    const auto type = static_cast<GgufType>(cursor.number<std::uint32_t>(key));
    GgufValue value = GgufValue::parse(type, cursor.rest(), file, key);
    cursor.take(value.bytes().size(), key);
    const bool ascii = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < '\x7F'; });
    if (!ascii && foreign.empty()) foreign = key;
    metadata.set(key, std::move(value));
  }
  if (!foreign.empty()) {
    warnings->push_back(escape(file) + ": " + escape(foreign, 100) + ": key is not plain ASCII");
  }
  return metadata;
}

// A tensor whose offset is not compared with the file yet.
struct Item {
  Checkpoint::Entry entry;
  const GgmlType* type;
  std::uint64_t offset, bytes;
};

Shape read_shape(GgufCursor& cursor, const std::string& file, const std::string& name) {
  const auto rank = cursor.number<std::uint32_t>(name);
  if (rank > kMaxGgufRank) {
    fail(file, name, "too many dimensions " + got(rank) + "limit " + std::to_string(kMaxGgufRank) + ")");
  }
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 60;  // of Shape
  std::uint64_t product = 1;
  std::vector<std::int64_t> dims(rank);
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto dim = cursor.number<std::uint64_t>(name);
    if (dim == 0 || dim > INT64_MAX) {
      fail(file, name, "bad dimension " + std::to_string(i) + ' ' + got(dim) + "expected 1 to 2^63 - 1)");
    }
    if (!checked_mul(product, dim, &product) || product > kLimit) {
      fail(file, name, "dimensions overflow (expected at most 2^60 elements)");
    }
    dims[rank - 1 - i] = static_cast<std::int64_t>(dim);
  }
  return Shape(dims);
}

Item read_item(GgufCursor& cursor, const std::string& file, std::uint64_t index) {
  const std::string name(cursor.string(1, kMaxGgufName, "name of tensor " + std::to_string(index)));
  const Shape shape = read_shape(cursor, file, name);
  const auto id = cursor.number<std::uint32_t>(name);
  const GgmlType* const type = find_ggml_type(id);
  if (!type) {
    throw Error(ErrorCode::kUnsupported, file, name,
                "unknown tensor type " + got(id) + "expected a number of ggml.h)");
  }
  const auto columns = static_cast<std::uint64_t>(shape.rank() == 0 ? 1 : shape.back());
  if (columns % type->block_elems != 0) {
    fail(file, name,
         "row is no multiple of the block of " + std::string(type->name) + ' ' + got(columns) +
             "expected a multiple of " + std::to_string(type->block_elems) + ")");
  }
  std::uint64_t bytes = 0;
  const auto blocks = static_cast<std::uint64_t>(shape.elements()) / type->block_elems;
  if (!checked_mul(blocks, type->block_bytes, &bytes)) fail(file, name, "size overflows");
  const auto offset = cursor.number<std::uint64_t>(name);
  return {{name, file, std::string(type->name), shape, {}, std::nullopt}, type, offset, bytes};
}

std::uint64_t align_up(std::uint64_t position, std::uint64_t alignment) {
  return (position + alignment - 1) / alignment * alignment;
}

// Each tensor must begin where the padding of the one before it ends, and end inside `data_bytes`.
void check_layout(const std::vector<Item>& items, std::uint64_t alignment, std::uint64_t data_bytes,
                  const std::string& file, std::vector<std::string>* warnings) {
  std::uint64_t expected = 0;  // ≤ data_bytes, rounded up
  for (const Item& item : items) {
    const std::string& name = item.entry.name;
    const std::string where = got(item.offset) + "expected " + std::to_string(expected) + ")";
    if (item.offset % alignment != 0) {
      fail(file, name, "offset is no multiple of the alignment " + std::to_string(alignment) + ' ' + where);
    }
    if (item.offset < expected) fail(file, name, "overlaps the tensor before it: offset " + where);
    if (item.offset > data_bytes || item.bytes > data_bytes - item.offset) {
      fail(file, name,
           "incomplete file: tensor of " + std::to_string(item.bytes) + " bytes at offset " +
               std::to_string(item.offset) + ", file has " + std::to_string(data_bytes) + " bytes of data");
    }
    if (item.offset > expected) fail(file, name, "hole before the tensor: offset " + where);
    expected = align_up(item.offset + item.bytes, alignment);
  }
  if (data_bytes > expected) {
    warnings->push_back(escape(file) + ": " + std::to_string(data_bytes - expected) +
                        " bytes after the last tensor are ignored");
  }
}

// One file: its metadata; its tensors and memory are appended.
struct Reader {
  std::vector<Checkpoint::Entry> entries;
  std::vector<Buffer> memory;
  std::vector<std::string> warnings;

  GgufMetadata read(const std::string& file);
};

GgufMetadata Reader::read(const std::string& file) {
  Buffer buffer = Buffer::map_file(file);
  GgufCursor cursor({reinterpret_cast<const char*>(buffer.data()), buffer.size()}, file);
  const std::string_view magic = cursor.rest().substr(0, 4);
  if (magic != "GGUF")
    fail(file, "magic", "not a GGUF file (got \"" + escape(magic) + "\", expected \"GGUF\")");
  cursor.take(4, "magic");
  check_version(cursor.number<std::uint32_t>("version"), file);
  const std::uint64_t tensors =
      read_count(cursor, file, "number of tensors", kMaxTensors - entries.size(), kMinTensorBytes);
  const std::uint64_t keys = read_count(cursor, file, "number of keys", kMaxGgufKeys, kMinKeyBytes);
  GgufMetadata metadata = read_metadata(cursor, keys, file, &warnings);
  const std::uint32_t alignment = gguf_alignment(metadata);
  if (alignment % 8 != 0) {
    warnings.push_back(escape(file) + ": " + std::string(kAlignmentKey) + " is no multiple of 8 (got " +
                       std::to_string(alignment) + ")");
  }
  std::vector<Item> items;
  for (std::uint64_t i = 0; i < tensors; ++i) items.push_back(read_item(cursor, file, i));
  const std::uint64_t begin = std::min<std::uint64_t>(align_up(cursor.position(), alignment), buffer.size());
  check_layout(items, alignment, buffer.size() - begin, file, &warnings);
  for (Item& item : items) {
    Checkpoint::Entry& entry = item.entry;
    entry.bytes = {buffer.data() + begin + item.offset, static_cast<std::size_t>(item.bytes)};
    if (const auto dtype = item.type->dtype()) entry.view.emplace(*dtype, entry.shape, entry.bytes.data());
    entries.push_back(std::move(entry));
  }
  memory.push_back(std::move(buffer));
  return metadata;
}

// PREFIX-00002-of-00003.gguf
struct SplitName {
  std::string prefix;
  std::int64_t number, count;  // 2, 3

  std::string path(std::int64_t part) const {
    const auto five = [](std::int64_t n) {
      const std::string digits = std::to_string(n);
      return std::string(5 - digits.size(), '0') + digits;
    };
    return prefix + '-' + five(part) + "-of-" + five(count) + ".gguf";
  }
};

std::optional<SplitName> split_name(const std::string& path) {
  constexpr std::string_view kPattern = "-#####-of-#####.gguf";
  if (path.size() < kPattern.size()) return std::nullopt;
  const std::string_view tail = std::string_view(path).substr(path.size() - kPattern.size());
  for (std::size_t i = 0; i < kPattern.size(); ++i) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (kPattern[i] == '#' ? !digit : tail[i] != kPattern[i]) return std::nullopt;
  }
  SplitName name{path.substr(0, path.size() - kPattern.size()), 0, 0};
  std::from_chars(tail.data() + 1, tail.data() + 6, name.number);
  std::from_chars(tail.data() + 10, tail.data() + 15, name.count);
  if (name.number < 1 || name.number > name.count) return std::nullopt;
  return name;
}

// What one part says about the whole; the first part's metadata hold for all.
void check_part(const GgufMetadata& part, const GgufMetadata& first, std::int64_t index, std::int64_t count) {
  part.integer(kSplitNumber, index, index);
  part.integer(kSplitCount, count, count);
  for (const GgufMetadata::Item& item : part.items()) {
    const GgufValue* const value = first.find(item.key);
    if (!value || item.key == kSplitNumber || item.key == kAlignmentKey || *value == item.value) continue;
    part.fail(item.key, "part of another model (got " + item.value.describe() + ", expected " +
                            value->describe() + " as in " + escape(first.file()) + ")");
  }
}

// Reads the parts; `given` is the metadata of the file at `path`, which says that there are `count`.
GgufMetadata read_parts(const std::string& path, const GgufMetadata& given, std::int64_t count,
                        Reader* reader) {
  const std::optional<SplitName> name = split_name(path);
  if (!name) {
    given.fail(kSplitCount, "one part of a split file, which must be named like NAME-00001-of-00002.gguf");
  }
  if (name->count != count) {
    given.fail(kSplitCount, "differs from the name of the file (got " + std::to_string(count) +
                                ", expected " + std::to_string(name->count) + ")");
  }
  GgufMetadata first;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string file = name->path(i + 1);
    std::error_code error;
    if (!fs::exists(file, error)) {
      fail(file, "", "part " + std::to_string(i + 1) + " of " + std::to_string(count) + " is missing");
    }
    GgufMetadata part = reader->read(file);
    if (i == 0) first = part;
    check_part(part, first, i, count);
  }
  const auto held = static_cast<std::int64_t>(reader->entries.size());
  if (const auto promised = first.find_integer(kSplitTensors, 0, INT64_MAX); promised && *promised != held) {
    first.fail(kSplitTensors, "differs from the tensors in all parts (got " + std::to_string(*promised) +
                                  ", expected " + std::to_string(held) + ")");
  }
  for (const std::string_view key : {kSplitNumber, kSplitCount, kSplitTensors}) first.remove(key);
  return first;
}

}  // namespace

std::uint32_t gguf_alignment(const GgufMetadata& metadata) {
  const GgufValue* const value = metadata.find(kAlignmentKey);
  if (!value) return 32;
  const auto refuse = [&](const std::string& got) {
    metadata.fail(kAlignmentKey, "bad alignment (got " + got + ", expected a u32, a power of two from 1 to " +
                                     std::to_string(kMaxGgufAlignment) + ")");
  };
  if (value->type() != GgufType::kU32) refuse(std::string(gguf_type_name(value->type())));
  const auto alignment = load_number<std::uint32_t>(value->bytes());
  if (!std::has_single_bit(alignment) || alignment > kMaxGgufAlignment) refuse(std::to_string(alignment));
  return alignment;
}

GgufFile read_gguf(const std::string& path) {
  Reader reader;
  GgufMetadata metadata = reader.read(path);
  // split.count is a u16 in the files of llama.cpp.
  const std::int64_t parts = metadata.find_integer(kSplitCount, 1, 65535).value_or(1);
  if (parts > 1) {
    reader = Reader{};
    metadata = read_parts(path, metadata, parts, &reader);
  }
  auto checkpoint = std::make_unique<Checkpoint>(path, std::move(reader.memory), std::move(reader.entries),
                                                 std::move(reader.warnings));
  return {std::move(metadata), std::move(checkpoint)};
}

}  // namespace tessera
