// Which model a program runs: the flags -m, --mmproj and --type.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/common/arguments.h"
#include "models/qwen3vl/recipe.h"

namespace tessera::programs {

struct ModelSource {
  std::string path;                         // folder or GGUF file
  std::string mmproj{};                     // of a GGUF pair; empty: the one beside the other file
  std::optional<qwen3vl::Recipe> recipe{};  // quantizes while loading

  // Every file that may belong to the model, so that no output replaces one of them: a model that cannot be
  // listed is reported when it is loaded.
  std::vector<std::string> files() const;
};

void add_model_flags(CLI::App& app, ModelSource& source);

}  // namespace tessera::programs
