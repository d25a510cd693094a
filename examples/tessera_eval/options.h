// What the command line of tessera-eval says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "examples/common/model_source.h"
#include "tensor/dtype.h"

namespace tessera::programs {

struct EvalOptions {
  ModelSource model;
  std::optional<std::string> text;       // --ppl
  std::optional<std::string> tasks;      // the file tasks.jsonl of --tasks
  std::optional<std::string> reference;  // --kl
  std::optional<std::string> answers, json;
  std::optional<std::int64_t> window;      // tokens; absent: 512 or what the model takes
  std::optional<std::int64_t> max_tokens;  // of an answer; absent: 250
  int threads = 1;
  std::optional<DType> cache_dtype;
};

// Throws Error{kUsage} for a wrong command line, kInput when a file of data cannot be read, kOutput when an
// output path cannot be written or is one of the inputs; ExitNow after --help and --version.
EvalOptions parse_eval_options(int argc, const char* const* argv);

}  // namespace tessera::programs
