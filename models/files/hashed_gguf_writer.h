// HashedGgufWriter: a GgufWriter whose file holds the hashes of its tensors (gguf_hashes.h) and is read again
// before it gets its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/files/gguf_hashes.h"
#include "models/files/gguf_writer.h"
#include "models/files/verify.h"

namespace tessera {

class HashedGgufWriter {
 public:
  // As GgufWriter.
  HashedGgufWriter(std::string path, const GgufWriter::Options& options);

  // As GgufWriter; adds the keys.
  void begin(GgufMetadata metadata, std::span<const GgufTensor> tensors);
  void append(std::span<const std::byte> bytes);

  // After the last byte: writes the hashes, forces everything to the disk, reads it again and compares.
  // Throws Error{kOutput} where it differs. False when cancelled.
  bool verify(const VerifyRun& run);
  // After verify(). As GgufWriter.
  void finish() { writer_.finish(); }

  const std::string& partial_path() const { return writer_.partial_path(); }
  std::uint64_t bytes() const { return writer_.bytes(); }

 private:
  GgufWriter writer_;
  std::string path_;
  std::vector<std::size_t> sizes_;  // of the tensors
  std::vector<std::uint64_t> hashes_;
  StreamHash hash_;          // of the tensor that is being written
  std::size_t written_ = 0;  // of it
};

}  // namespace tessera
