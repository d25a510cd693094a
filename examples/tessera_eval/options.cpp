#include "examples/tessera_eval/options.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>
#include <vector>

#include "examples/common/arguments.h"
#include "examples/common/program.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

// A window scores its tokens from the middle on; shorter ones score none.
constexpr std::int64_t kMinWindow = 3;

constexpr Alias kAliases[] = {{"-ctk", "--cache-type-k"}};

constexpr char kDescription[] =
    "Measures how good a model is: perplexity on a text, score on questions with known answers,\n"
    "or how far it is from a reference model on either.";

constexpr char kFooter[] =
    "--ppl: the whole file becomes tokens (names of special tokens are plain text), cut into windows of -c\n"
    "tokens; what is left over at the end is dropped. Each window is read from an empty cache, and its "
    "tokens\n"
    "from number c/2 + 1 on, counted from 0, are scored: the same as llama.cpp's perplexity. A text shorter\n"
    "than one window is read whole, and all its tokens but the first are scored.\n"
    "\n"
    "--tasks: DIR/tasks.jsonl has a line {\"images\": [...], \"prompt\", \"answer\", \"kind\"} for each "
    "question,\n"
    "pictures relative to DIR. Answers are greedy. Score of kind \"describe\": share of right phrases; of\n"
    "\"boxes\" and \"box_one\": F-measure at IoU 0.5; of any other: equal text.\n"
    "\n"
    "--kl: KL divergence KL(P || Q) in nats of the model's distribution Q of the next token from the "
    "reference's\n"
    "P, at the scored tokens of --ppl and at every token of the answers that --tasks wants.\n"
    "\n"
    "Exit status: 0 success, 1 internal error, 2 wrong command line, 3 model missing or damaged,\n"
    "4 model not supported, 5 text, question or picture rejected, 6 out of memory, 7 output not written,\n"
    "130 and 143 stopped by SIGINT and SIGTERM.\n";

[[noreturn]] void refuse(const std::string& flag, const std::string& reason) {
  throw Error(ErrorCode::kUsage, "", flag, reason + "; see --help");
}

struct Extra {
  std::optional<std::string> cache_type;
  std::optional<std::int64_t> threads;
};

void add_options(CLI::App& app, EvalOptions& o, Extra& extra) {
  add_model_flags(app, o.model);
  app.add_option("--ppl", o.text, "text file: perplexity")->type_name("FILE");
  app.add_option("--tasks", o.tasks, "folder with tasks.jsonl: score of answers")->type_name("DIR");
  app.add_option("--kl", o.reference, "reference model: distance from it on --ppl or --tasks or both")
      ->type_name("PATH");
  constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max();
  add_integer(app, "-c,--ctx-size", "with --ppl: tokens of a window [512]", {kMinWindow, kMax},
              [&o](std::int64_t n) { o.window = n; });
  add_integer(app, "-n,--n-predict", "with --tasks: longest answer in tokens [250]", {1, kMax},
              [&o](std::int64_t n) { o.max_tokens = n; });
  add_threads(app, extra.threads);
  app.add_option("--cache-type-k", extra.cache_type,
                 "(also -ctk) type of the KV cache: f16, bf16, q8_0\nor f32 [bf16 where attention multiplies "
                 "it, else f16]")
      ->type_name("TYPE");
  app.add_option("--answers", o.answers, "with --tasks: write each answer as a line {\"text\": ...}")
      ->type_name("FILE");
  app.add_option("--json", o.json, "write the figures as one JSON object")->type_name("FILE");
}

void check_combinations(const EvalOptions& o) {
  if (o.reference && !o.text && !o.tasks) refuse("--kl", "needs --ppl or --tasks");
  if (!o.text && !o.tasks) refuse("--ppl", "missing: one of --ppl and --tasks must be given");
  if (o.window && !o.text) refuse("-c", "needs --ppl");
  if (o.max_tokens && !o.tasks) refuse("-n", "needs --tasks");
  if (o.answers && !o.tasks) refuse("--answers", "needs --tasks");
  if (o.max_tokens && o.reference) refuse("-n", "not together with --kl: nothing is generated");
  if (o.answers && o.reference) refuse("--answers", "not together with --kl: nothing is generated");
}

void check_files(const EvalOptions& o) {
  std::vector<std::string> inputs;
  for (const auto& path : {o.text, o.tasks}) {
    if (!path) continue;
    // Reading comes after the model is loaded; a wrong name should not have to wait for it.
    if (::access(path->c_str(), R_OK) != 0)
      throw Error(ErrorCode::kInput, *path, "", std::string("cannot be read: ") + std::strerror(errno));
    inputs.push_back(*path);
  }
  for (const ModelSource& model : {o.model, ModelSource{.path = o.reference.value_or(o.model.path)}}) {
    for (std::string& file : model.files()) inputs.push_back(std::move(file));
  }
  for (const auto& [flag, path] : {std::pair("--json", o.json), {"--answers", o.answers}}) {
    if (path) check_output_path(*path, flag, inputs);
  }
  if (o.json && o.json == o.answers) refuse("--answers", "the same file as --json");
}

}  // namespace

EvalOptions parse_eval_options(int argc, const char* const* argv) {
  EvalOptions o;
  Extra extra;
  CLI::App app(kDescription, "tessera-eval");
  app.set_version_flag("--version", "tessera-eval (tessera) " TESSERA_VERSION);
  app.get_formatter()->column_width(36);
  app.footer(kFooter);
  add_options(app, o, extra);
  parse_arguments(app, argc, argv, kAliases);
  if (o.tasks) o.tasks = (std::filesystem::path(*o.tasks) / "tasks.jsonl").string();
  check_combinations(o);
  check_files(o);
  if (extra.cache_type) o.cache_dtype = parse_cache_type("-ctk", *extra.cache_type);
  o.threads = usable_threads(extra.threads);
  return o;
}

}  // namespace tessera::programs
