// Checkpoint: the tensors of a model on disk, by name, mapped and checked. Nothing is copied or converted.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/api.h"
#include "tensor/buffer.h"
#include "tensor/tensor_view.h"

namespace tessera {

// More tensors than this, in one file or in all shards together, are refused (reliability.md §3.0).
inline constexpr std::size_t kMaxTensors = 65536;

// Owns the mappings: views and entries live as long as the Checkpoint.
class TESSERA_API Checkpoint {
 public:
  struct Entry {
    std::string name;   // as in the file; it may hold control characters: escape() before printing
    std::string file;   // path of the file that holds it
    std::string dtype;  // as the file spells it, "BF16"
    Shape shape;
    std::span<const std::byte> bytes;
    // Dense, over `bytes`. Absent when the dtype serves no weight (F64, I64, BOOL …).
    // The data may be UNALIGNED: a file need not align it, so read it with memcpy or unaligned loads.
    std::optional<TensorView> view;
  };

  struct Parts {
    std::string path;
    // What the entries point into: mapped files, and memory of our own, whose pages are never dropped.
    std::vector<Buffer> memory, owned;
    std::vector<Entry> entries;
    std::vector<std::string> warnings;
  };

  // For readers of a format. Throws Error{kModel} when two entries have one name, naming both files.
  explicit Checkpoint(Parts parts);
  Checkpoint(std::string path, std::vector<Buffer> memory, std::vector<Entry> entries,
             std::vector<std::string> warnings);
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  // Takes it apart, for another one with the same tensors.
  Parts release() && { return std::move(parts_); }

  const std::string& path() const { return parts_.path; }
  // In the order of the file names, then of the offsets within a file.
  std::span<const Entry> entries() const { return parts_.entries; }
  // What was odd but harmless, in printable text.
  std::span<const std::string> warnings() const { return parts_.warnings; }

  // nullptr when there is no such tensor. Throws Error{kUnsupported} naming file, tensor and dtype when its
  // dtype serves no weight.
  const TensorView* find(std::string_view name) const;

  bool contains(std::string_view name) const { return lookup(name) != nullptr; }

  // Tells the system that the pages of a view of this checkpoint are not needed soon, as after packing.
  void drop_pages(const TensorView& view) const;
  void drop_pages(std::span<const std::byte> bytes) const;
  // Tells the system to begin reading bytes that are needed soon. Returns at once.
  void will_need(std::span<const std::byte> bytes) const;

 private:
  const Entry* lookup(std::string_view name) const;
  // The mapped file that holds the bytes; nullptr where none does.
  const Buffer* mapping(std::span<const std::byte> bytes) const;

  Parts parts_;
  std::vector<std::size_t> by_name_;  // indices of entries
};

// A Hugging Face folder (model.safetensors.index.json with its shards, or else model.safetensors) or one
// safetensors file. Every number in the headers is checked against the files before a view is made.
// Throws Error{kModel} for missing, cut or malformed files and Error{kUnsupported} for unknown dtypes.
TESSERA_API std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path);

}  // namespace tessera
