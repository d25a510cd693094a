#include "models/files/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "models/files/json.h"
#include "models/files/weight_binder.h"
#include "tensor/error.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct FileDType {
  std::string_view name;
  std::uint64_t bytes;
  std::optional<DType> weight;
};

// safetensors/src/tensor.rs, enum Dtype, without the types of less than a byte.
constexpr FileDType kDTypes[] = {
    {"F32", 4, DType::kF32}, {"F16", 2, DType::kF16}, {"BF16", 2, DType::kBF16},
    {"F64", 8, {}},          {"I64", 8, {}},          {"U64", 8, {}},
    {"C64", 8, {}},          {"I32", 4, {}},          {"U32", 4, {}},
    {"I16", 2, {}},          {"U16", 2, {}},          {"I8", 1, {}},
    {"U8", 1, {}},           {"BOOL", 1, {}},         {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},      {"F8_E8M0", 1, {}},
};

// What a file that is no safetensors file begins like, "" when nothing is known.
std::string_view looks_like(std::string_view bytes) {
  constexpr std::pair<std::string_view, std::string_view> kSignatures[] = {
      {"version https://git-lfs", "; it looks like a Git LFS pointer: the weights were not downloaded"},
      {"<!DOCTYPE", "; it looks like an HTML page"},
      {"<!doctype", "; it looks like an HTML page"},
      {"<html", "; it looks like an HTML page"},
      {"PK\x03\x04", "; it looks like a ZIP archive, as PyTorch .bin files are"},
      {"GGUF", "; it looks like a GGUF file"},
  };
  for (const auto& [signature, name] : kSignatures) {
    if (bytes.substr(0, signature.size()) == signature) return name;
  }
  const bool pickle = bytes.size() >= 2 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5;
  return pickle ? "; it looks like a Python pickle" : "";
}

// One tensor of a header, with offsets that are not compared with the file yet.
struct Item {
  Checkpoint::Entry entry;
  const FileDType* dtype;
  std::uint64_t begin, end;
};

Shape read_shape(const JsonObject& object, std::uint64_t element_bytes, std::uint64_t* bytes) {
  const std::vector<std::int64_t> dims = object.integers("shape", 0, INT64_MAX);
  if (dims.size() > kMaxRank) {
    object.fail("shape", "too many dimensions (got " + std::to_string(dims.size()) + ", limit " +
                             std::to_string(kMaxRank) + ")");
  }
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 60;
  bool empty = false;
  *bytes = element_bytes;
  for (const std::int64_t dim : dims) {
    empty |= dim == 0;
    // Zero extents are left out: a product must not hide a wrap behind a zero.
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(dim, 1));
    if (!checked_mul(*bytes, factor, bytes) || *bytes > kLimit) object.fail("shape", "size overflows");
  }
  if (empty) *bytes = 0;
  return Shape(dims);
}

Item read_item(const std::string& name, const json& value, const std::string& file) {
  if (name.empty() || name.size() > kMaxTensorName) {
    throw Error(ErrorCode::kModel, file, name.substr(0, 100),
                "bad tensor name (got " + std::to_string(name.size()) + " bytes, expected 1 to " +
                    std::to_string(kMaxTensorName) + ")");
  }
  const JsonObject object(value, file, name);
  const std::string dtype = object.string("dtype");
  const auto known = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                  [&](const FileDType& type) { return type.name == dtype; });
  if (known == std::end(kDTypes)) {
    throw Error(ErrorCode::kUnsupported, file, name,
                "unknown dtype (got \"" + escape(dtype, 50) + "\", expected F32, F16 or BF16)");
  }
  std::uint64_t bytes = 0;
  const Shape shape = read_shape(object, known->bytes, &bytes);
  const std::vector<std::int64_t> offsets = object.integers("data_offsets", 0, INT64_MAX);
  if (offsets.size() != 2) {
    object.fail("data_offsets", "wrong length (got " + std::to_string(offsets.size()) + ", expected 2)");
  }
  const auto begin = static_cast<std::uint64_t>(offsets[0]);
  const auto end = static_cast<std::uint64_t>(offsets[1]);
  if (begin > end) {
    object.fail("data_offsets", "begin " + std::to_string(begin) + " is behind end " + std::to_string(end));
  }
  if (end - begin != bytes) {
    object.fail("data_offsets", "length differs from shape and dtype (got " + std::to_string(end - begin) +
                                    ", expected " + std::to_string(bytes) + " bytes)");
  }
  return {{name, file, dtype, shape, {}, std::nullopt}, known, begin, end};
}

[[noreturn]] void fail_too_many(const std::string& file) {
  throw Error(ErrorCode::kModel, file, "", "too many tensors (limit " + std::to_string(kMaxTensors) + ")");
}

std::vector<Item> read_header(std::string_view header, const std::string& file) {
  std::vector<Item> items;
  std::set<std::string> names;
  parse_json_members(header, file, 8, [&](const std::string& name, const json& value) {
    if (!names.insert(name).second) throw Error(ErrorCode::kModel, file, name, "name occurs twice");
    if (name == "__metadata__") {
      const JsonObject metadata(value, file, name);
      for (const auto& [key, text] : value.items()) metadata.string(key);
      return;
    }
    if (items.size() == kMaxTensors) fail_too_many(file);
    items.push_back(read_item(name, value, file));
  });
  return items;
}

// The tensors, in order, must fill the data from its first to its last byte.
void check_layout(const std::vector<Item>& items, std::uint64_t data_bytes, const std::string& file) {
  const auto fail = [&](const std::string& field, const std::string& reason) {
    throw Error(ErrorCode::kModel, file, field, reason);
  };
  std::uint64_t position = 0;
  const std::string* previous = nullptr;
  for (const Item& item : items) {
    const std::string& name = item.entry.name;
    if (item.end > data_bytes) {
      fail(name, "incomplete file: tensor data needs " + std::to_string(item.end) + " bytes, file has " +
                     std::to_string(data_bytes));
    }
    if (item.begin < position) fail(name, "overlaps tensor " + escape(*previous));
    if (item.begin > position) {
      fail(name, "hole of " + std::to_string(item.begin - position) + " bytes before the tensor");
    }
    position = item.end;
    previous = &name;
  }
  if (position != data_bytes) {
    fail("", "trailing data: " + std::to_string(data_bytes - position) + " bytes after the last tensor");
  }
}

// The length of the header, which lies whole inside the file and begins with '{'.
std::size_t header_length(std::string_view file_bytes, const std::string& file) {
  const auto fail = [&](const std::string& reason) {
    throw Error(ErrorCode::kModel, file, "header", reason + std::string(looks_like(file_bytes)));
  };
  if (file_bytes.size() < 8) {
    fail("file of " + std::to_string(file_bytes.size()) + " bytes is shorter than the 8-byte header length");
  }
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(file_bytes[i]);
  if (length == 0) fail("empty header");
  const std::size_t left = file_bytes.size() - 8;
  if (length > left) {
    fail("header of " + std::to_string(length) + " bytes in a file of " + std::to_string(file_bytes.size()) +
         " bytes: incomplete download?");
  }
  if (length > kMaxSafetensorsHeader) {
    fail("header too long (got " + std::to_string(length) + " bytes, limit " +
         std::to_string(kMaxSafetensorsHeader) + ")");
  }
  if (file_bytes[8] != '{') fail("byte 8: header does not begin with '{'");
  return static_cast<std::size_t>(length);
}

// Appends the tensors of a file in the order of their offsets.
Buffer read_file(const std::string& path, std::vector<Checkpoint::Entry>* entries) {
  Buffer memory = Buffer::map_file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(memory.data()), memory.size());
  const std::size_t header = header_length(bytes, path);
  std::vector<Item> items = read_header(bytes.substr(8, header), path);
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return std::tie(a.begin, a.end, a.entry.name) < std::tie(b.begin, b.end, b.entry.name);
  });
  if (items.size() > kMaxTensors - entries->size()) fail_too_many(path);
  const std::size_t data_bytes = memory.size() - 8 - header;
  check_layout(items, data_bytes, path);
  const std::byte* const data = memory.data() + 8 + header;
  for (Item& item : items) {
    Checkpoint::Entry& entry = item.entry;
    entry.bytes = {data + item.begin, static_cast<std::size_t>(item.end - item.begin)};
    if (item.dtype->weight) entry.view.emplace(*item.dtype->weight, entry.shape, entry.bytes.data());
    entries->push_back(std::move(entry));
  }
  return memory;
}

// shard name → the tensors that the index places there, both sorted.
using WeightMap = std::map<std::string, std::set<std::string>>;

WeightMap read_index(const std::string& path) {
  const json index = read_json_file(path, kMaxConfigBytes);
  const JsonObject weight_map = JsonObject(index, path).object("weight_map");
  if (weight_map.value().empty()) throw Error(ErrorCode::kModel, path, "weight_map", "names no tensor");
  if (weight_map.value().size() > kMaxTensors) fail_too_many(path);
  WeightMap shards;
  for (const auto& [name, value] : weight_map.value().items()) {
    const std::string shard = weight_map.string(name);
    const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                       shard.find_first_of(std::string_view("/\\\0", 3)) == shard.npos;
    if (!plain) weight_map.fail(name, "not a plain file name (got " + describe(value) + ")");
    shards[shard].insert(name);
  }
  return shards;
}

// The safetensors files of a folder, sorted.
std::set<std::string> files_of(const std::string& folder) {
  std::set<std::string> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".safetensors") files.insert(entry->path().filename().string());
  }
  if (error) throw Error(ErrorCode::kModel, folder, "", "cannot list the folder: " + error.message());
  return files;
}

void check_shards_exist(const WeightMap& shards, const std::string& index) {
  std::size_t missing = 0;
  std::string names;
  for (const auto& [shard, tensors] : shards) {
    std::error_code error;
    if (fs::exists(fs::path(index).replace_filename(shard), error)) continue;
    ++missing;
    names += ' ';
    names += escape(shard, 100);
  }
  if (missing == 0) return;
  throw Error(ErrorCode::kModel, index, "weight_map", std::to_string(missing) + " missing shards:" + names);
}

// The promises of the index for one shard, which holds `entries`.
void check_index(const std::string& shard, const std::set<std::string>& promised,
                 std::span<const Checkpoint::Entry> entries) {
  std::set<std::string_view> held;
  for (const Checkpoint::Entry& entry : entries) held.insert(entry.name);
  std::vector<std::string> absent;
  for (const std::string& name : promised) {
    if (!held.contains(name)) absent.push_back(name);
  }
  if (absent.empty()) return;
  throw Error(ErrorCode::kModel, shard, absent[0],
              "the index places " + std::to_string(absent.size()) +
                  " tensors here that the file lacks: " + join_names(absent));
}

}  // namespace

std::unique_ptr<Checkpoint> open_safetensors_file(const std::string& path) {
  std::vector<Checkpoint::Entry> entries;
  std::vector<Buffer> memory;
  memory.push_back(read_file(path, &entries));
  return std::make_unique<Checkpoint>(path, std::move(memory), std::move(entries),
                                      std::vector<std::string>{});
}

std::unique_ptr<Checkpoint> open_safetensors_folder(const std::string& folder) {
  constexpr std::string_view kSingle = "model.safetensors", kIndex = "model.safetensors.index.json";
  std::set<std::string> unused = files_of(folder);
  std::vector<Checkpoint::Entry> entries;
  std::vector<Buffer> memory;
  std::vector<std::string> warnings;
  const std::string index = (fs::path(folder) / kIndex).string();
  std::error_code error;
  if (fs::exists(index, error)) {
    const WeightMap shards = read_index(index);
    check_shards_exist(shards, index);
    for (const auto& [shard, promised] : shards) {
      const std::string path = (fs::path(folder) / shard).string();
      const std::size_t first = entries.size();
      memory.push_back(read_file(path, &entries));
      check_index(path, promised, std::span(entries).subspan(first));
      unused.erase(shard);
    }
  } else if (unused.erase(std::string(kSingle))) {
    memory.push_back(read_file((fs::path(folder) / kSingle).string(), &entries));
  } else {
    throw Error(ErrorCode::kModel, folder, "",
                "holds neither " + std::string(kSingle) + " nor " + std::string(kIndex));
  }
  for (const std::string& file : unused) {
    const bool index_wins = file == kSingle;
    warnings.push_back(
        escape((fs::path(folder) / file).string()) + ": ignored: " +
        (index_wins ? "the folder has an index, and the index wins" : "not part of the model"));
  }
  return std::make_unique<Checkpoint>(folder, std::move(memory), std::move(entries), std::move(warnings));
}

}  // namespace tessera
