#include "models/files/gguf_writer.h"

#include <sys/stat.h>

#include <array>
#include <set>
#include <utility>

#include "models/files/checkpoint.h"
#include "models/files/gguf.h"
#include "models/files/gguf_bytes.h"
#include "models/files/gguf_types.h"
#include "tensor/error.h"

namespace tessera {
namespace {

std::uint64_t align_up(std::uint64_t position, std::uint64_t alignment) {
  return (position + alignment - 1) / alignment * alignment;
}

// `path` itself, which is about to be opened, when it is none of the inputs.
std::string checked_target(std::string path, const std::vector<std::string>& inputs) {
  struct stat target {};
  if (stat(path.c_str(), &target) != 0) return path;
  for (const std::string& input : inputs) {
    struct stat status {};
    if (stat(input.c_str(), &status) == 0 && status.st_dev == target.st_dev &&
        status.st_ino == target.st_ino) {
      throw Error(ErrorCode::kOutput, path, "", "is the input file " + escape(input));
    }
  }
  return path;
}

const GgmlType& checked_type(const GgufTensor& tensor, const std::string& path) {
  const auto fail = [&](const std::string& reason) {
    throw Error(ErrorCode::kUsage, path, tensor.name, reason);
  };
  if (tensor.name.empty() || tensor.name.size() > kMaxGgufName) {
    fail("bad name of a tensor (got " + std::to_string(tensor.name.size()) + " bytes, expected 1 to " +
         std::to_string(kMaxGgufName) + ")");
  }
  const Shape& shape = tensor.shape;
  if (shape.rank() > kMaxGgufRank || shape.elements() == 0) {
    fail("bad shape (got " + shape.to_string() + ", expected at most " + std::to_string(kMaxGgufRank) +
         " dimensions, none of them 0)");
  }
  const GgmlType* const type = find_ggml_type(tensor.dtype);
  if (!type) fail("GGUF files hold no weights of dtype " + std::string(info(tensor.dtype).name));
  const std::int64_t columns = shape.rank() == 0 ? 1 : shape.back();
  if (columns % type->block_elems != 0) {
    fail("row is no multiple of the block of " + std::string(type->name) + " (got " +
         std::to_string(columns) + ", expected a multiple of " + std::to_string(type->block_elems) + ")");
  }
  return *type;
}

}  // namespace

GgufWriter::GgufWriter(std::string path, const Options& options)
    : file_(checked_target(std::move(path), options.inputs), options.if_exists) {}

void GgufWriter::add_tensors(std::span<const GgufTensor> tensors, std::string* header) {
  std::set<std::string_view> names;
  std::uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    const GgmlType& type = checked_type(tensor, file_.path());
    if (!names.insert(tensor.name).second) {
      throw Error(ErrorCode::kUsage, file_.path(), tensor.name, "name of a tensor occurs twice");
    }
    append_string(header, tensor.name);
    const std::span<const std::int64_t> dims = tensor.shape.dims();
    append_number(header, static_cast<std::uint32_t>(dims.size()));
    for (std::size_t i = dims.size(); i-- > 0;) append_number(header, static_cast<std::uint64_t>(dims[i]));
    append_number(header, type.id);
    append_number(header, offset);
    sizes_.push_back(static_cast<std::uint64_t>(dense_bytes(tensor.dtype, tensor.shape)));
    if (!checked_add(offset, align_up(sizes_.back(), alignment_), &offset)) {
      throw Error(ErrorCode::kUsage, file_.path(), tensor.name, "the file's size overflows");
    }
  }
  bytes_ = align_up(header->size(), alignment_) + offset;
}

void GgufWriter::begin(const GgufMetadata& metadata, std::span<const GgufTensor> tensors) {
  TESSERA_CHECK(alignment_ == 0);
  if (tensors.size() > kMaxTensors) {
    throw Error(ErrorCode::kUsage, file_.path(), "",
                "too many tensors (got " + std::to_string(tensors.size()) + ", limit " +
                    std::to_string(kMaxTensors) + ")");
  }
  alignment_ = gguf_alignment(metadata);
  std::string header = "GGUF";
  append_number<std::uint32_t>(&header, 3);
  append_number<std::uint64_t>(&header, tensors.size());
  append_number<std::uint64_t>(&header, metadata.items().size());
  for (const auto& [key, value] : metadata.items()) {
    append_string(&header, key);
    append_number(&header, static_cast<std::uint32_t>(value.type()));
    places_.emplace(key, Place{header.size(), value.type(), value.bytes().size()});
    header.append(value.bytes());
  }
  add_tensors(tensors, &header);
  file_.require_space(bytes_);
  file_.append(std::as_bytes(std::span(header)));
  pad(header.size());
}

// Zeros up to the next multiple of the alignment.
void GgufWriter::pad(std::uint64_t position) {
  static constexpr std::array<std::byte, kMaxGgufAlignment> kZeros{};
  const std::uint64_t gap = align_up(position, alignment_) - position;
  file_.append(std::span(kZeros).first(static_cast<std::size_t>(gap)));
}

void GgufWriter::append(std::span<const std::byte> bytes) {
  TESSERA_CHECK(tensor_ < sizes_.size() && bytes.size() <= sizes_[tensor_] - written_);
  file_.append(bytes);
  written_ += bytes.size();
  if (written_ < sizes_[tensor_]) return;
  pad(written_);
  ++tensor_;
  written_ = 0;
}

void GgufWriter::update(std::string_view key, const GgufValue& value) {
  const auto place = places_.find(key);
  TESSERA_CHECK(place != places_.end() && place->second.type == value.type() &&
                place->second.bytes == value.bytes().size());
  file_.overwrite(place->second.offset, std::as_bytes(std::span(value.bytes())));
}

void GgufWriter::finish() {
  TESSERA_CHECK(alignment_ != 0 && tensor_ == sizes_.size());
  file_.commit();
}

}  // namespace tessera
