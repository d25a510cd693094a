// Hashes of tensors in GGUF files: what this library writes can be told from what a disk or a transfer made
// of it.
//
//   tessera.xxh3_64           u64 array: XXH3-64 of each tensor's bytes without padding, in the file's order
//   tessera.listing.xxh3_64   u64: XXH3-64 of the listing that they belong to
//
// The listing is, for each tensor: u64 length of the name, the name, u32 rank, u64 extents (outermost first),
// u32 ggml type, little endian. Other tools keep keys that they do not know beside tensors that they rewrote;
// the second key tells such a file from a damaged one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/files/gguf.h"
#include "models/files/gguf_metadata.h"
#include "models/files/gguf_writer.h"
#include "tensor/api.h"

namespace tessera {

// What long reading and writing is told, and tells.
struct GgufRun {
  int threads = 1;
  const std::atomic<bool>* cancel = nullptr;  // may be null
  // After each piece: bytes of tensors since the last call. May be empty.
  std::function<void(std::size_t bytes)> progress{};

  bool cancelled() const { return cancel && cancel->load(std::memory_order_relaxed); }
};

enum class GgufHashes {
  kNone,     // the file has none
  kForeign,  // it has some, but of other tensors: another tool rewrote it
  kRight,
  kCancelled,
};

// Reads every tensor of a file. Throws Error{kModel} naming file and tensor for the first whose hash differs.
TESSERA_API GgufHashes verify_gguf_hashes(const GgufFile& file, const GgufRun& run);

// Throws Error{kModel} naming file, tensor, row and column of the first number that is NaN or Inf, scales of
// blocks included (reliability.md G27). False when cancelled.
TESSERA_API bool verify_gguf_numbers(const GgufFile& file, const GgufRun& run);

// A GgufWriter whose file holds hashes and is read again before it gets its name.
class HashedGgufWriter {
 public:
  // As GgufWriter.
  HashedGgufWriter(std::string path, const GgufWriter::Options& options);
  ~HashedGgufWriter();

  // As GgufWriter; adds the keys.
  void begin(GgufMetadata metadata, std::span<const GgufTensor> tensors);
  void append(std::span<const std::byte> bytes);

  // After the last byte: writes the hashes, forces the bytes to the disk, reads them again and compares.
  // Throws Error{kOutput} where they differ. False when cancelled.
  bool verify(const GgufRun& run);
  // After verify(). As GgufWriter.
  void finish() { writer_.finish(); }

  const std::string& partial_path() const { return writer_.partial_path(); }
  std::uint64_t bytes() const { return writer_.bytes(); }

 private:
  struct State;

  GgufWriter writer_;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
