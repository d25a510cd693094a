// What the command line of tessera-quantize says.
#pragma once

#include <optional>
#include <string>

#include "models/qwen3vl/recipe.h"

namespace tessera::programs {

struct QuantizeOptions {
  std::string input;
  std::string mmproj;  // of a GGUF pair; empty: the one beside the other file
  std::string output_folder;
  qwen3vl::Recipe recipe;
  bool text = true, vision = true;  // which files to write
  bool force = false;               // replace files that exist
  int threads = 1;
  std::optional<std::string> calibrate{}, report{};
};

// Throws Error{kUsage} for a wrong command line, kUnsupported for a type that is only read; ExitNow after
// --help and --version.
QuantizeOptions parse_quantize_options(int argc, const char* const* argv);

}  // namespace tessera::programs
