// The quantizer: writes a model as a GGUF text file and an mmproj file, each weight in the format that a
// recipe gives it.
//
// Weights go through memory a few MiB at a time, whatever the size of the model: the next pieces are read
// while all threads encode one. A file is written under a partial name, forced to the disk, read again and
// compared with the hashes of what was encoded, and only then renamed (reliability.md §3.0); where both files
// are written, both are ready before the first gets its name. After an error, or when cancelled, nothing new
// is there and files that were there are as they were; but where only the second file cannot get its name,
// the first has it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/qwen3vl/calibration.h"
#include "models/qwen3vl/model_files.h"
#include "models/qwen3vl/recipe.h"
#include "quant/quantize.h"
#include "tensor/api.h"

namespace tessera::qwen3vl {

struct QuantizeProgress {
  enum class Phase { kQuantizing, kVerifying } phase = Phase::kQuantizing;
  std::size_t done = 0, total = 0;  // bytes: of the model when quantizing, of the new files when verifying
};

struct QuantizerOptions {
  Recipe recipe;
  // Where to write; a file that is not asked for is not made.
  std::optional<std::string> text_path{}, vision_path{};
  bool replace = false;  // files that exist; never one that the model is read from
  int threads = 1;
  // May be null. Weights without an entry have columns of equal weight.
  const Importance* importance = nullptr;
  const std::atomic<bool>* cancel = nullptr;  // may be null
  std::function<void(const QuantizeProgress&)> progress{};
  // Is told the names of the partial files once these are there: for signal handlers.
  std::function<void(const std::vector<std::string>&)> partial_files{};
};

struct TensorReport {
  std::string name;    // in the file
  std::string source;  // canonical Hugging Face name
  DType from = DType::kF32, to = DType::kF32;
  Shape shape;
  quant::QuantizeStats stats;
};

struct QuantizedFile {
  std::string path;
  std::uint64_t bytes = 0;
  std::vector<TensorReport> tensors;  // in the order of the file
};

struct QuantizeReport {
  std::vector<QuantizedFile> files;
  std::size_t bytes_read = 0;
  // What the threads did, in seconds: the sum over all of them divided by their number. Reading, encoding and
  // writing go on side by side.
  double waiting_for_reads = 0, encoding = 0, writing = 0, verifying = 0;
};

// "name" for the folder or file a model is read from: the folder's own name, or the file's without ".gguf".
TESSERA_API std::string model_name(const std::string& path);

// Nothing when cancelled. Throws Error{kOutput} for targets that exist (without `replace`), are inputs or
// cannot be written; kModel naming tensor, row and column for numbers that are not finite or that a format
// cannot hold; kUsage where neither file is asked for, for threads, and for importance of the wrong length.
TESSERA_API std::optional<QuantizeReport> quantize_model(const ModelFiles& files,
                                                         const QuantizerOptions& options);

}  // namespace tessera::qwen3vl
