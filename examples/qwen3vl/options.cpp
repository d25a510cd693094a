#include "examples/qwen3vl/options.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "examples/common/arguments.h"
#include "examples/common/program.h"
#include "models/text/tokenizer.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

constexpr std::int64_t kDefaultContext = 8192;
constexpr std::int64_t kMaxImageTokens = 1 << 20;
constexpr std::int64_t kMaxTopLogprobs = kMaxTokens;  // a whole vocabulary
constexpr std::size_t kMaxImages = 64;                // reliability.md §3.0

constexpr Alias kAliases[] = {
    {"-sys", "--system-prompt"}, {"-ctk", "--cache-type-k"}, {"-ctv", "--cache-type-v"}};

constexpr char kDescription[] =
    "Answers questions about pictures and text with a Qwen3-VL model.\n"
    "The answer goes to standard output, everything else to standard error.";

constexpr char kFooter[] =
    "Without -p and -f the program is interactive: /image FILE adds a picture to the next message,\n"
    "/clear forgets the conversation, /quit or the end of input leaves. Ctrl-C stops an answer.\n"
    "\n"
    "Exit status: 0 success, 1 internal error, 2 wrong command line, 3 model missing or damaged,\n"
    "4 model not supported, 5 prompt or picture rejected, 6 out of memory, 7 output not written,\n"
    "130 and 143 stopped by SIGINT and SIGTERM.\n";

[[noreturn]] void refuse(const std::string& flag, const std::string& reason) {
  throw Error(ErrorCode::kUsage, "", flag, reason);
}

// Results of parsing that are not options themselves.
struct Extra {
  std::optional<std::string> prompt_file, cache_type_k, cache_type_v;
  std::optional<std::int64_t> threads;
};

void add_input(CLI::App& app, Options& o, Extra& extra) {
  add_model_flags(app, o.model);
  app.add_option("-p,--prompt", o.prompt, "question, or any text")->type_name("TEXT");
  app.add_option("-f,--file", extra.prompt_file, "file with the question, taken as it is")->type_name("FILE");
  app.add_option("--system-prompt", o.system, "(also -sys) system message")->type_name("TEXT");
  app.add_option("--image", o.images, "PNG, JPEG or WebP picture before the text; may be repeated")
      ->type_name("FILE")
      ->allow_extra_args(false)
      ->take_all();
  app.add_flag("--raw", o.raw,
               "take the prompt without chat layout, special tokens parsed;\n"
               "each <|image_pad|> takes the next --image");
  add_integer(app, "--image-min-tokens", "a picture becomes at least N tokens [the model's]",
              {1, kMaxImageTokens}, [&o](std::int64_t n) { o.image_min_tokens = n; });
  add_integer(app, "--image-max-tokens", "a picture becomes at most N tokens [the model's, at most 4096]",
              {1, kMaxImageTokens}, [&o](std::int64_t n) { o.image_max_tokens = n; });
  app.add_option("--image-cache", o.image_cache,
                 "keep what the model makes of pictures in this folder, up to 4 GiB:\n"
                 "a picture that was seen before is not encoded again")
      ->type_name("DIR");
}

void add_run(CLI::App& app, Options& o, Extra& extra) {
  add_integer(app, "-n,--n-predict", "longest answer in tokens; -1: until the context is full [-1]",
              {1, std::numeric_limits<std::int32_t>::max(), ", or -1", -1},
              [&o](std::int64_t n) { o.max_tokens = n < 0 ? std::nullopt : std::optional(n); });
  app.add_option_function<std::string>(
         "-c,--ctx-size",
         [&o](const std::string& text) {
           // The model's maximum is known later; positions are 32 bits wide in any model.
           o.context = parse_integer("-c", text, {2, std::numeric_limits<std::int32_t>::max()});
         },
         "tokens of conversation that fit [the model's maximum, at most 8192]")
      ->type_name("N");
  add_threads(app, extra.threads);
  app.add_option("--cache-type-k", extra.cache_type_k,
                 "(also -ctk) type of the KV cache: f16, bf16, q8_0\nor f32 [bf16 where attention multiplies "
                 "it, else f16]")
      ->type_name("TYPE");
  app.add_option("--cache-type-v", extra.cache_type_v, "(also -ctv) the same as -ctk")->type_name("TYPE");
}

void add_sampling(CLI::App& app, Options& o) {
  constexpr double kHuge = 1e6;
  app.add_option_function<std::string>(
         "-s,--seed", [&o](const std::string& text) { o.seed = parse_seed("--seed", text); },
         "start of the random numbers [a random one]")
      ->type_name("N");
  app.add_flag("--greedy", o.greedy, "always the likeliest token, as --temp 0");
  add_number(app, "--temp", "temperature", {0, kHuge, false, "0 to 1000000"},
             [&o](float x) { o.temperature = x; });
  add_integer(app, "--top-k", "only the N likeliest tokens; 0: all",
              {0, std::numeric_limits<std::int32_t>::max()},
              [&o](std::int64_t n) { o.top_k = static_cast<std::int32_t>(n); });
  add_number(app, "--top-p", "only the likeliest tokens that together have this probability",
             {0, 1, true, "more than 0, at most 1"}, [&o](float x) { o.top_p = x; });
  add_number(app, "--min-p", "only tokens this likely beside the likeliest", {0, 1, false, "0 to 1"},
             [&o](float x) { o.min_p = x; });
  add_number(app, "--repeat-penalty", "divides the logits of tokens already there",
             {0, kHuge, true, "more than 0, at most 1000000"}, [&o](float x) { o.repeat_penalty = x; });
  add_number(app, "--presence-penalty", "taken from the logits of tokens already said",
             {-kHuge, kHuge, false, "-1000000 to 1000000"}, [&o](float x) { o.presence_penalty = x; });
}

void add_output(CLI::App& app, Options& o) {
  auto file = [&app](const char* name, std::optional<std::string>& path, const char* description) {
    app.add_option(name, path, description)->type_name("FILE");
  };
  file("--json", o.json, "write tokens, text, boxes and timings");
  add_integer(app, "--top-logprobs", "with --json: the N best of each token with their log probabilities",
              {1, kMaxTopLogprobs}, [&o](std::int64_t n) { o.top_logprobs = n; });
  file("--draw-boxes", o.draw_boxes, "PNG of the (last) picture with the boxes of the answer drawn in");
  file("--show-input", o.show_input,
       "PNG of the picture as the model sees it; of the second picture FILE-2.png,\nand so on");
  file("--trace", o.trace, "Chrome trace of every operation, for Perfetto");
}

// Every path that the program will write, with its flag.
std::vector<std::pair<std::string, std::string>> output_paths(const Options& o) {
  std::vector<std::pair<std::string, std::string>> paths;
  auto add = [&](const char* flag, const std::optional<std::string>& path) {
    if (path) paths.emplace_back(flag, *path);
  };
  add("--json", o.json);
  add("--draw-boxes", o.draw_boxes);
  add("--show-input", o.show_input);
  add("--trace", o.trace);
  return paths;
}

void check_combinations(const Options& o, const Extra& extra) {
  if (o.prompt && extra.prompt_file) refuse("-f", "not together with -p; see --help");
  const bool one_shot = o.prompt || extra.prompt_file;
  for (const auto& [flag, path] : output_paths(o)) {
    if (!one_shot) refuse(flag, "needs -p or -f; see --help");
  }
  if (o.raw && !one_shot) refuse("--raw", "needs -p or -f; see --help");
  if (o.raw && o.system) refuse("-sys", "not together with --raw; see --help");
  if (o.top_logprobs > 0 && !o.json) refuse("--top-logprobs", "needs --json; see --help");
  for (const auto& [flag, path] : {std::pair("--draw-boxes", o.draw_boxes), {"--show-input", o.show_input}}) {
    if (path && o.images.empty()) refuse(flag, "needs --image; see --help");
  }
  if (extra.cache_type_k && extra.cache_type_v && extra.cache_type_k != extra.cache_type_v)
    refuse("-ctv", "differs from -ctk: keys and values have one type");
  if (o.image_min_tokens && o.image_max_tokens && *o.image_min_tokens > *o.image_max_tokens)
    refuse("--image-min-tokens", "over --image-max-tokens");
  if (o.images.size() > kMaxImages) {
    throw Error(ErrorCode::kInput, "", "--image",
                "too many pictures (got " + std::to_string(o.images.size()) + ", expected at most " +
                    std::to_string(kMaxImages) + ")");
  }
}

// Reading comes after the model is loaded; a wrong name should not have to wait for it.
void check_inputs(const Options& o) {
  for (const std::string& path : o.images) {
    if (::access(path.c_str(), R_OK) != 0)
      throw Error(ErrorCode::kInput, path, "", std::string("cannot open: ") + std::strerror(errno));
  }
}

void check_outputs(const Options& o, const Extra& extra) {
  if (o.image_cache) check_output_folder(*o.image_cache);
  const auto outputs = output_paths(o);
  std::vector<std::string> inputs = o.images;
  for (std::string& file : o.model.files()) inputs.push_back(std::move(file));
  if (extra.prompt_file) inputs.push_back(*extra.prompt_file);
  for (const auto& [flag, path] : outputs) {
    check_output_path(path, flag, inputs);
    for (const auto& [other_flag, other] : outputs) {
      if (other_flag != flag && other == path) refuse(flag, "the same file as " + other_flag);
    }
  }
}

}  // namespace

Options parse_options(int argc, const char* const* argv) {
  Options o;
  Extra extra;
  CLI::App app(kDescription, "qwen3vl");
  app.set_version_flag("--version", "qwen3vl (tessera) " TESSERA_VERSION);
  app.get_formatter()->column_width(36);
  app.footer(kFooter);
  add_input(app, o, extra);
  add_run(app, o, extra);
  add_sampling(app, o);
  add_output(app, o);
  parse_arguments(app, argc, argv, kAliases);

  check_combinations(o, extra);
  check_inputs(o);
  check_outputs(o, extra);
  if (extra.cache_type_v) o.cache_dtype = parse_cache_type("-ctv", *extra.cache_type_v);
  if (extra.cache_type_k) o.cache_dtype = parse_cache_type("-ctk", *extra.cache_type_k);
  if (extra.prompt_file) o.prompt = read_input_file(*extra.prompt_file, kMaxTextBytes);
  o.threads = usable_threads(extra.threads);
  return o;
}

SamplerOptions sampler_options(const Options& options, const GenerationDefaults& defaults,
                               std::uint64_t random_seed) {
  SamplerOptions s = defaults.sampler_options();
  s.seed = options.seed.value_or(random_seed);
  s.temperature = options.greedy ? 0 : options.temperature.value_or(s.temperature);
  s.top_k = options.top_k.value_or(s.top_k);
  s.top_p = options.top_p.value_or(s.top_p);
  s.min_p = options.min_p.value_or(s.min_p);
  s.repetition_penalty = options.repeat_penalty.value_or(s.repetition_penalty);
  s.presence_penalty = options.presence_penalty.value_or(s.presence_penalty);
  return s;
}

PreprocessConfig preprocess_config(const Options& options, PreprocessConfig config) {
  const std::int64_t side = std::int64_t{config.patch_size} * config.merge_size, token = side * side;
  if (options.image_min_tokens) {
    config.min_pixels = *options.image_min_tokens * token;
    config.max_pixels = std::max(config.max_pixels, config.min_pixels);
  }
  if (options.image_max_tokens) {
    config.max_pixels = *options.image_max_tokens * token;
    config.min_pixels = std::min(config.min_pixels, config.max_pixels);
  } else {
    config.max_pixels = std::min(config.max_pixels, std::max(kDefaultImageTokens * token, config.min_pixels));
  }
  return config;
}

std::int64_t context_size(const Options& options, std::int64_t model_maximum) {
  const std::int64_t context = options.context.value_or(std::min(model_maximum, kDefaultContext));
  if (context > model_maximum) {
    refuse("-c", "out of range (got " + std::to_string(context) + ", expected 2 to " +
                     std::to_string(model_maximum) + ")");
  }
  return context;
}

}  // namespace tessera::programs
