// tessera-bench: how fast a whole model runs, beside the limits of this machine measured in the same run.
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "bench/plan_cost.h"
#include "bench/report.h"
#include "bench/synthetic.h"
#include "bench/synthetic_folder.h"
#include "models/qwen3vl/session.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace {

using namespace tessera;
using bench::ReportRow;
using bench::Sample;

struct ImageSize {
  int width = 0, height = 0;
};

struct Options {
  std::string path, mmproj, synthetic, write, type, format = "md";
  std::optional<std::string> cache_type_k, cache_type_v;  // the same if both are given
  DType cache_dtype = DType::kF16;
  std::int64_t prompt = 512, generate = 64;
  std::vector<std::int64_t> depths;
  std::vector<ImageSize> sizes;
  std::vector<int> threads{available_threads()};
  int repetitions = 5;

  // Rows of the KV cache that the tests need.
  std::int64_t context() const {
    const std::int64_t deepest = depths.empty() ? 0 : *std::max_element(depths.begin(), depths.end());
    return std::max({prompt, deepest + generate * (repetitions + 1), std::int64_t{1}});
  }
};

constexpr char kSyntheticType[] = "bf16";  // without --type

[[noreturn]] void usage_error(const std::string& field, const std::string& got, const std::string& expected) {
  throw Error(ErrorCode::kUsage, "", field, "not valid (got " + got + ", expected " + expected + ")");
}

// "512x512,640x480"; "0" for none.
std::vector<ImageSize> parse_sizes(const std::vector<std::string>& texts) {
  std::vector<ImageSize> sizes;
  if (texts.size() == 1 && texts[0] == "0") return sizes;
  for (const std::string& text : texts) {
    constexpr int kMostPixels = 16384;
    ImageSize size;
    const char* const end = text.data() + text.size();
    auto at = std::from_chars(text.data(), end, size.width);
    if (at.ec == std::errc() && at.ptr != end && *at.ptr == 'x')
      at = std::from_chars(at.ptr + 1, end, size.height);
    if (at.ec != std::errc() || at.ptr != end || size.width < 1 || size.height < 1 ||
        std::max(size.width, size.height) > kMostPixels) {
      usage_error("--image-size", text, "WIDTHxHEIGHT, sides from 1 to " + std::to_string(kMostPixels));
    }
    sizes.push_back(size);
  }
  return sizes;
}

std::size_t run_bytes(const Plan& plan, int threads) {
  return plan.arena_bytes() + plan.workspace_bytes_per_thread() * static_cast<std::size_t>(threads);
}

// Adds up what the runs of a session cost, which may be several for one prompt.
class CostMeter : public StepObserver {
 public:
  explicit CostMeter(std::int64_t past) : past_(past) {}
  void run_begins(const Plan& plan, int threads) override {
    arena_ = std::max(arena_, run_bytes(plan, threads));
    const OpCost cost = bench::cost_of_run(plan, past_);
    total_.bytes += cost.bytes;
    total_.flops += cost.flops;
    for (const Step& step : plan.steps()) {
      if (std::string_view(step.op->name) != "causal_attention") continue;
      past_ += step.output.desc.shape[0];
      break;
    }
  }
  OpCost total() const { return total_; }
  std::size_t arena() const { return arena_; }  // of the largest run

 private:
  std::int64_t past_;
  OpCost total_;
  std::size_t arena_ = 0;
};

double seconds_of(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Random ids of text: none that stands for a picture.
std::vector<std::int32_t> random_tokens(std::int64_t count, const qwen3vl::Config& config) {
  std::mt19937 engine(1);
  std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(config.text.vocab_size) - 1);
  std::vector<std::int32_t> ids;
  while (static_cast<std::int64_t>(ids.size()) < count) {
    const std::int32_t id = any(engine);
    if (id != config.image_token_id && id != config.video_token_id) ids.push_back(id);
  }
  return ids;
}

Image noise(const ImageSize& size) {
  std::mt19937 engine(1);
  Image image{size.width, size.height, {}, {}};
  image.rgb.resize(static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height) * 3);
  for (std::uint8_t& value : image.rgb) value = static_cast<std::uint8_t>(engine());
  return image;
}

// Most memory that this process had in use since the last reset.
std::size_t peak_rss() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) << 10;  // KiB on Linux
}

// So that what was before does not count. Where it is not allowed, it does.
void reset_peak_rss() { std::ofstream("/proc/self/clear_refs") << '5'; }

// The bandwidth of a shared machine changes within seconds, to half or double. A token is held against what
// memory gave just before and after it, and says nothing where these two differ by more than a tenth.
class ReadShare {
 public:
  explicit ReadShare(const bench::ReadMeter& meter) : meter_(meter), read_(meter.pass()) {}
  // A token that read `bytes` in `seconds`, until now.
  void add(double bytes, double seconds) {
    const double before = std::exchange(read_, meter_.pass());
    const auto [less, more] = std::minmax(before, read_);
    if (less >= 0.9 * more) shares_.push_back(bytes / seconds / ((less + more) / 2));
  }
  // Of the tokens since the last call; 0: none counts.
  double median() {
    const std::vector<double> shares = std::exchange(shares_, {});
    return shares.empty() ? 0 : bench::median(shares);
  }

 private:
  const bench::ReadMeter& meter_;
  double read_;
  std::vector<double> shares_;
};

// The tests of one model with one number of threads.
class Tests {
 public:
  Tests(std::shared_ptr<const qwen3vl::Model> model, const Options& options, const Cpu& cpu, int threads)
      : model_(std::move(model)),
        options_(options),
        cpu_(cpu),
        threads_(threads),
        session_(model_, {.threads = threads,
                          .context = options.context(),
                          .cache_dtype = options.cache_dtype,
                          .cpu = cpu}) {}

  std::vector<ReportRow> run() {
    if (options_.prompt) prompt();
    if (options_.generate) {
      generate(0);
      for (const std::int64_t depth : options_.depths) {
        if (depth) generate(depth);
      }
    }
    for (const ImageSize& size : options_.sizes) encode(size);
    return std::move(rows_);
  }
  std::size_t arena() const { return arena_; }  // of the largest run so far
  std::size_t peak() const { return std::max(peak_, peak_rss()); }

 private:
  ReportRow& add_row(const std::string& test, ReportRow::Limit limit) {
    if (isatty(STDERR_FILENO)) std::fprintf(stderr, "%s, %d threads ...\n", test.c_str(), threads_);
    rows_.push_back({test, threads_, {}, limit});
    return rows_.back();
  }

  void prompt() {
    ReportRow& row = add_row("pp " + std::to_string(options_.prompt), ReportRow::Limit::kArithmetic);
    const std::vector<std::int32_t> ids = random_tokens(options_.prompt, model_->config());
    session_.clear();
    CostMeter meter(0);
    session_.prefill(ids, {}, {nullptr, &meter});
    arena_ = std::max(arena_, meter.arena());
    for (int i = 0; i < options_.repetitions; ++i) {
      session_.clear();
      const double seconds = seconds_of([&] { session_.prefill(ids); });
      row.samples.push_back({seconds, static_cast<double>(options_.prompt), meter.total()});
    }
  }

  // Repetitions start anew at depth 0. Deeper ones follow each other, since the cache cannot be cut back.
  void generate(std::int64_t depth) {
    const std::int64_t count = options_.generate;
    ReportRow& row = add_row("tg " + std::to_string(count) + (depth ? " @ " + std::to_string(depth) : ""),
                             ReportRow::Limit::kMemory);
    const std::vector<std::int32_t> ids = random_tokens(std::max(depth, count), model_->config());
    session_.clear();
    if (depth) {
      CostMeter meter(0);
      session_.prefill(std::span(ids).first(static_cast<std::size_t>(depth)), {}, {nullptr, &meter});
      arena_ = std::max(arena_, meter.arena());
    }
    session_.decode(ids[0]);
    arena_ = std::max(arena_, run_bytes(*session_.plan(), threads_));
    peak_ = peak();
    reset_peak_rss();
    auto meter = std::make_unique<bench::ReadMeter>(cpu_, threads_);
    ReadShare share(*meter);
    for (int i = 0; i < options_.repetitions; ++i) {
      if (!depth) session_.clear();
      Sample sample{.tokens = static_cast<double>(count)};
      const std::int64_t past = session_.length();
      for (std::int64_t token = 0; token < count; ++token) {
        const double seconds = seconds_of([&] { session_.decode(ids[static_cast<std::size_t>(token)]); });
        const OpCost cost = bench::cost_of_run(*session_.plan(), past + token);
        share.add(cost.bytes, seconds);
        sample.seconds += seconds;
        sample.cost.bytes += cost.bytes;
        sample.cost.flops += cost.flops;
      }
      sample.of_read = share.median();
      row.samples.push_back(sample);
    }
    // The buffer that is read is no memory of the model.
    peak_ = std::max(peak_, peak_rss() - meter->buffer_bytes());
    meter = nullptr;
    reset_peak_rss();
  }

  void encode(const ImageSize& size) {
    const PixelValues pixels = preprocess_image(noise(size), model_->preprocess());
    ReportRow& row = add_row("encode " + std::to_string(size.width) + "x" + std::to_string(size.height) +
                                 " (" + std::to_string(pixels.grid.patches()) + " patches)",
                             ReportRow::Limit::kArithmetic);
    const std::size_t needed = session_.encode_budget(pixels).bytes, available = available_memory();
    if (needed > available) {
      throw Error(ErrorCode::kResource, "", row.test,
                  "not enough memory (needs " + std::to_string(needed >> 20) + " MiB, available " +
                      std::to_string(available >> 20) + " MiB)");
    }
    session_.encode(pixels);
    arena_ = std::max(arena_, run_bytes(*session_.plan(), threads_));
    const OpCost cost = bench::cost_of_run(*session_.plan(), 0);
    for (int i = 0; i < options_.repetitions; ++i) {
      row.samples.push_back({.seconds = seconds_of([&] { session_.encode(pixels); }), .cost = cost});
    }
  }

  std::shared_ptr<const qwen3vl::Model> model_;
  const Options& options_;
  Cpu cpu_;
  int threads_;
  qwen3vl::Session session_;
  std::vector<ReportRow> rows_;
  std::size_t arena_ = 0, peak_ = 0;
};

void check_context(const qwen3vl::Config& config, std::int64_t context) {
  const std::int64_t most = config.text.max_position_embeddings;
  if (context > most) {
    usage_error("context", std::to_string(context) + " tokens for -p, -d, -n and -r",
                "at most " + std::to_string(most));
  }
}

// A model that can be loaded again and again.
struct Source {
  std::string name;
  std::function<std::shared_ptr<const qwen3vl::Model>()> load;
  bool synthetic = false;
};

qwen3vl::Config config_of(const Options& options) {
  const auto config = bench::synthetic_config(options.synthetic);
  if (!config) usage_error("--synthetic", options.synthetic, "2b, 4b, 8b or tiny");
  return *config;
}

Source source_of(const Options& options, int threads) {
  const auto cache = [options](const qwen3vl::Config& config) {
    check_context(config, options.context());
    return qwen3vl::cache_bytes(config.text, options.context(), options.cache_dtype);
  };
  qwen3vl::LoadOptions how;
  how.threads = threads;
  if (options.synthetic.empty()) {
    if (!options.type.empty()) how.recipe.emplace(options.type);
    return {escape(options.path), [=]() mutable {
              auto files = qwen3vl::open_model_files(options.path, options.mmproj);
              how.extra_bytes = cache(files.config);
              return qwen3vl::Model::load(std::move(files), how);
            }};
  }
  const qwen3vl::Config config = config_of(options);
  const std::string type = options.type.empty() ? kSyntheticType : options.type;
  const std::string name = "synthetic " + options.synthetic + " " + type;
  how.extra_bytes = cache(config);
  const auto checkpoint = bench::synthetic_checkpoint(name, config, type, how.extra_bytes);
  return {name, [=] { return qwen3vl::Model::from_checkpoint(checkpoint, config, how); }, true};
}

void write_folder(const Options& options) {
  const qwen3vl::Config config = config_of(options);
  const auto dtype = dtype_from_name(options.type.empty() ? kSyntheticType : options.type);
  if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16)
    usage_error("--type", options.type, "bf16, f16 or f32 for --write");
  bench::write_synthetic_folder(options.write, config, {.dtype = *dtype});
}

std::shared_ptr<const qwen3vl::Model> load(const Source& source, const Options& options, int threads,
                                           bench::Report* report) {
  // Quantizing takes minutes and is not what is measured.
  const int times = source.synthetic || options.type.empty() ? options.repetitions : 1;
  ReportRow row{"load", threads, {}, ReportRow::Limit::kCopy};
  std::shared_ptr<const qwen3vl::Model> model;
  for (int i = 0; i < times; ++i) {
    model = nullptr;
    Sample sample;
    sample.seconds = seconds_of([&] { model = source.load(); });
    sample.cost.bytes = static_cast<double>(model->weight_bytes());
    row.samples.push_back(sample);
  }
  report->rows.push_back(std::move(row));
  report->weight_bytes = model->weight_bytes();
  return model;
}

void run(const Options& options, bench::ReportFormat format) {
  const Cpu cpu = Cpu::from_environment();
  const int load_threads = *std::max_element(options.threads.begin(), options.threads.end());
  const Source source = source_of(options, load_threads);
  bench::Report report;
  report.version = TESSERA_VERSION;
  report.cpu = cpu.brand();
  report.level = name(cpu.best());
  report.model = source.name;
  report.cache = info(options.cache_dtype).name;
  reset_peak_rss();
  // The files of a synthetic model are memory of this process.
  const std::size_t files = source.synthetic ? peak_rss() : 0;
  const auto model = load(source, options, load_threads, &report);
  report.peak_rss = report.load_rss = peak_rss() - files;
  std::size_t arena = 0;
  for (const int threads : options.threads) {
    report.limits.push_back(bench::measure_roofs(cpu, threads));
    reset_peak_rss();
    Tests tests(model, options, cpu, threads);
    for (ReportRow& row : tests.run()) report.rows.push_back(std::move(row));
    report.peak_rss = std::max(report.peak_rss, tests.peak() - files);
    arena = std::max(arena, tests.arena());
  }
  report.model_bytes = report.weight_bytes + arena +
                       qwen3vl::cache_bytes(model->config().text, options.context(), options.cache_dtype);
  const std::string text = to_string(report, format);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(ErrorCode::kOutput, "", "standard output", "cannot be written");
  }
}

void add_model_flags(CLI::App& app, Options& options) {
  auto* source = app.add_option_group("model");
  auto* path =
      source->add_option("-m", options.path, "Hugging Face folder, GGUF file, or folder of a GGUF pair");
  auto* synthetic = source->add_option("--synthetic", options.synthetic,
                                       "2b, 4b, 8b or tiny: that shape with random weights");
  source->require_option(1);
  app.add_option("--mmproj", options.mmproj, "vision file of a GGUF pair [the one beside it]")->needs(path);
  app.add_option("--type", options.type,
                 "of synthetic weights [bf16], or quantizes a model while loading:\n"
                 "q4_0, q8_0, q4_k_m … as for tessera-quantize");
  app.add_option("--write", options.write,
                 "measure nothing: write the synthetic model (bf16, f16 or f32) as a Hugging Face folder")
      ->type_name("DIR")
      ->needs(synthetic);
  app.add_option(
      "--cache-type-k", options.cache_type_k,
      "(also -ctk) type of the KV cache: f16, bf16, q8_0 or f32 [bf16 where attention multiplies it, "
      "else f16]");
  app.add_option("--cache-type-v", options.cache_type_v, "(also -ctv) the same as -ctk");
}

void add_test_flags(CLI::App& app, Options& options, std::vector<std::string>& sizes) {
  app.add_option("-p", options.prompt, "tokens of the prompt, 0 for no such test")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-n", options.generate, "tokens to generate, 0 for no such test")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-d", options.depths, "generate also with so many tokens in the cache, as in 1024,4096")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--image-size", sizes, "pictures to encode, as in 512x512,640x480; 0 for none")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("-t", options.threads, "threads, as in 1,2")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("-r", options.repetitions, "repetitions of each test")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("-o", options.format, "md, csv or json")->capture_default_str();
}

// -ctk and -ctv by the long names that CLI11 knows; last argument first, as it takes them.
std::vector<std::string> arguments(int argc, char** argv) {
  std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  for (std::string& arg : args) {
    if (arg == "-ctk" || arg == "-ctv") arg = std::string("--cache-type-") + arg.back();
  }
  std::reverse(args.begin(), args.end());
  return args;
}

DType cache_dtype(const Options& options) {
  const auto &k = options.cache_type_k, &v = options.cache_type_v;
  if (!k && !v) return qwen3vl::default_cache_dtype(Cpu::from_environment());
  const std::string& name = k ? *k : *v;
  const auto dtype = qwen3vl::cache_dtype_from_name(name);
  if (!dtype) usage_error(k ? "-ctk" : "-ctv", name, qwen3vl::kCacheDTypes);
  if (v && *v != name) usage_error("-ctv", *v, name + " as -ctk");
  return *dtype;
}

int parse_and_run(int argc, char** argv) {
  Options options;
  std::vector<std::string> sizes{"512x512"};
  CLI::App app("Measures loading, prompt processing (pp), generation (tg) and picture encoding.",
               "tessera-bench");
  app.set_version_flag("--version", TESSERA_VERSION);
  add_model_flags(app, options);
  add_test_flags(app, options, sizes);
  try {
    app.parse(arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    throw Error(ErrorCode::kUsage, "", "", error.what());
  }
  options.sizes = parse_sizes(sizes);
  options.cache_dtype = cache_dtype(options);
  const auto format = bench::report_format_from_name(options.format);
  if (!format) usage_error("-o", options.format, "md, csv or json");
  if (options.write.empty()) {
    run(options, *format);
  } else {
    write_folder(options);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit becomes an error of the write
  return parse_and_run(argc, argv);
} catch (const Error& error) {
  std::fprintf(stderr, "tessera-bench: %s\n", error.what());
  return static_cast<int>(error.code());
} catch (const std::bad_alloc&) {
  std::fprintf(stderr, "tessera-bench: out of memory\n");
  return static_cast<int>(ErrorCode::kResource);
} catch (const std::exception& error) {
  std::fprintf(stderr, "tessera-bench: %s\n", error.what());
  return static_cast<int>(ErrorCode::kInternal);
}
