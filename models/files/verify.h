// Whether the bytes of a model's files are those that were written, and numbers.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include "models/files/checkpoint.h"
#include "models/files/gguf.h"
#include "tensor/api.h"

namespace tessera {

// What reading a whole file is told, and tells.
struct VerifyRun {
  int threads = 1;
  const std::atomic<bool>* cancel = nullptr;  // may be null
  // After each piece: bytes since the last call. May be empty.
  std::function<void(std::size_t bytes)> progress{};

  bool cancelled() const { return cancel && cancel->load(std::memory_order_relaxed); }
};

enum class GgufHashes {
  kNone,     // the file has none: it was not written by this library
  kForeign,  // it has some, but of other tensors: another tool rewrote it
  kRight,
  kCancelled,
};

// Reads every tensor of a file and compares it with the hash that the file's writer stored. Throws
// Error{kModel} naming file and tensor for the first that differs.
TESSERA_API GgufHashes verify_gguf_hashes(const GgufFile& file, const VerifyRun& run);

// Reads every weight. Throws Error{kModel} naming file, tensor, row and column of the first number that is
// NaN or Inf, scales of blocks included (reliability.md G27). False when cancelled.
TESSERA_API bool verify_numbers(const Checkpoint& checkpoint, const VerifyRun& run);

}  // namespace tessera
