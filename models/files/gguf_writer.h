// GgufWriter: writes one GGUF v3 file from its front to its end, with the memory of the header alone.
//
//   GgufWriter writer(path, {});         the partial file is there, or an Error: nothing was worked on yet
//   writer.begin(metadata, tensors);     header
//   for (…) writer.append(bytes);        all bytes of all tensors in order, in pieces of any size
//   writer.update("key", value);         for values that are known late, such as hashes of the tensors
//   writer.finish();                     durable, under its name
//
// The file is as models/files/gguf.h draws it: keys and tensors in the order given, each tensor padded with
// zeros to the alignment, the last one too. It is written as PATH.partial-PID and renamed by finish()
// (models/files/partial_file.h); on failure, and when the writer goes away before finish(), the partial
// file is removed and a file at `path` stays as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/gguf_metadata.h"
#include "models/files/partial_file.h"
#include "tensor/shape.h"

namespace tessera {

struct GgufTensor {
  std::string name;
  DType dtype;
  Shape shape;
};

class GgufWriter {
 public:
  struct Options {
    IfExists if_exists = IfExists::kRefuse;
    // Files that are read while this one is written: a target that is one of them, under whatever name or
    // link, is refused.
    std::vector<std::string> inputs;
  };

  // Throws Error{kOutput} (PartialFile).
  GgufWriter(std::string path, const Options& options);

  // Writes the header. Throws Error{kUsage} naming the tensor for what a GGUF file cannot hold: a name of 0
  // or more than kMaxGgufName bytes or used twice, more than kMaxTensors tensors, more than kMaxGgufRank
  // extents, an extent of 0, rows that are no multiple of the block, a dtype without a number (i32);
  // Error{kModel} for a bad general.alignment; Error{kOutput} when the whole file does not fit on the disk.
  void begin(const GgufMetadata& metadata, std::span<const GgufTensor> tensors);

  // The next bytes of the tensors, of one tensor at most at a time.
  void append(std::span<const std::byte> bytes);

  // Replaces a value by one of the same type and size.
  void update(std::string_view key, const GgufValue& value);

  // Forces what was written to the disk; partial_path() may then be read.
  void flush() { file_.flush(); }

  // After the last byte of the last tensor.
  void finish();

  // For signal handlers, which unlink it.
  const std::string& partial_path() const { return file_.partial_path(); }
  // Of the whole file, once begun.
  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Place {
    std::uint64_t offset;
    GgufType type;
    std::uint64_t bytes;
  };

  void add_tensors(std::span<const GgufTensor> tensors, std::string* header);
  void pad(std::uint64_t position);

  PartialFile file_;
  std::map<std::string, Place, std::less<>> places_;  // of the values
  std::vector<std::uint64_t> sizes_;                  // of the tensors
  std::size_t tensor_ = 0;                            // being written
  std::uint64_t written_ = 0;                         // of it
  std::uint64_t alignment_ = 0;                       // 0 before begin()
  std::uint64_t bytes_ = 0;
};

}  // namespace tessera
