// What the command line of qwen3vl says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/common/model_source.h"
#include "models/image/preprocess.h"
#include "models/text/sampler.h"
#include "tensor/dtype.h"

namespace tessera::programs {

struct Options {
  ModelSource model;
  // -p, or what the file of -f holds. Absent: interactive.
  std::optional<std::string> prompt;
  std::optional<std::string> system;
  std::vector<std::string> images;
  bool raw = false;

  std::optional<std::int64_t> max_tokens;  // absent: until the context is full
  std::optional<std::int64_t> context;
  int threads = 1;
  std::optional<DType> cache_dtype;

  // What the command line changes in the model's own generation settings.
  std::optional<std::uint64_t> seed;
  bool greedy = false;
  std::optional<float> temperature, top_p, min_p, repeat_penalty, presence_penalty;
  std::optional<std::int32_t> top_k;

  std::optional<std::int64_t> image_min_tokens, image_max_tokens;
  std::optional<std::string> image_cache;  // a folder

  std::optional<std::string> json, draw_boxes, show_input, trace;
  std::int64_t top_logprobs = 0;
};

// Throws Error{kUsage} for a wrong command line, kInput when the file of -f cannot be read, kOutput when an
// output path cannot be written or is one of the inputs; ExitNow after --help and --version.
Options parse_options(int argc, const char* const* argv);

// The model's settings with those of the command line over them.
SamplerOptions sampler_options(const Options& options, const GenerationDefaults& defaults,
                               std::uint64_t random_seed);
// Bounds on tokens are bounds on the area: a token is a square of patch_size * merge_size pixels a side. A
// bound given alone moves the model's other bound out of its way. Without an upper one pictures become at
// most kDefaultImageTokens, where the model's own bound is higher: a phone's photo would take minutes.
// Measuring and calibrating (examples/common/dataset.h) keep the model's bounds.
inline constexpr std::int64_t kDefaultImageTokens = 4096;
PreprocessConfig preprocess_config(const Options& options, PreprocessConfig config);
// Rows of the KV cache: what -c says, else the model's maximum, but no more than 8192. Throws Error{kUsage}
// naming the range.
std::int64_t context_size(const Options& options, std::int64_t model_maximum);

}  // namespace tessera::programs
