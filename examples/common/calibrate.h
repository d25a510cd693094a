// --calibrate FILE: statistics of activations on the user's own data.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "models/qwen3vl/calibration.h"
#include "models/qwen3vl/model.h"

namespace tessera::programs {

struct CalibrateOptions {
  int threads = 1;
  const std::atomic<bool>* cancel = nullptr;
  // After each piece of the data, a conversation or a window of text.
  std::function<void(std::size_t done, std::size_t total)> progress{};
};

// Lets the model read the file. One that ends in .jsonl holds questions (dataset.h), with their answers where
// they have one; any other is plain text, read in windows of 512 tokens. Nothing when cancelled. The cache
// is f32; products are of the CPU's best level. Throws Error{kInput} for the data.
std::optional<qwen3vl::Importance> calibrate(const std::shared_ptr<const qwen3vl::Model>& model,
                                             const std::string& file, const CalibrateOptions& options);

}  // namespace tessera::programs
