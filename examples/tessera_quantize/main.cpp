// tessera-quantize: makes GGUF files of a model. `tessera-quantize --help` says how.

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "examples/common/calibrate.h"
#include "examples/common/model_source.h"
#include "examples/common/program.h"
#include "examples/common/progress.h"
#include "examples/common/progress_line.h"
#include "examples/common/signals.h"
#include "examples/tessera_quantize/options.h"
#include "examples/tessera_quantize/report.h"
#include "models/qwen3vl/model.h"
#include "models/qwen3vl/quantizer.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

// The output folder. One that was made here goes away again unless it is kept, also when a signal ends the
// program.
class OutputFolder {
 public:
  explicit OutputFolder(std::string path) : path_(std::move(path)) {
    if (::mkdir(path_.c_str(), 0777) == 0) {
      made_ = true;
      remove_when_killed({path_});
      return;
    }
    const int error = errno;
    struct stat status = {};
    if (error == EEXIST && ::stat(path_.c_str(), &status) == 0) {
      if (!S_ISDIR(status.st_mode)) fail(ENOTDIR);
      if (::access(path_.c_str(), W_OK | X_OK) != 0) fail(errno);
      return;
    }
    fail(error);
  }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder() {
    if (made_) ::rmdir(path_.c_str());
  }

  void keep() { made_ = false; }
  bool made() const { return made_; }
  std::string file(const std::string& name) const { return (std::filesystem::path(path_) / name).string(); }

 private:
  [[noreturn]] void fail(int error) const {
    throw Error(ErrorCode::kOutput, path_, "", std::string("folder cannot be used: ") + std::strerror(error));
  }

  std::string path_;
  bool made_ = false;
};

// What will fail when the files get their names should fail before a model is calibrated.
void check_target(const std::string& path, bool force) {
  std::error_code error;
  if (!force && std::filesystem::exists(path, error))
    throw Error(ErrorCode::kOutput, path, "", "exists; --force replaces it");
  check_output_path(path);
}

// The report may replace neither what is read nor what is made.
void check_report(const std::string& path, const std::vector<std::string>& inputs,
                  const qwen3vl::QuantizerOptions& made) {
  namespace fs = std::filesystem;
  check_output_path(path, "--report", inputs);
  std::error_code error;
  for (const auto& target : {made.text_path, made.vision_path}) {
    if (target && fs::weakly_canonical(path, error) == fs::weakly_canonical(*target, error))
      throw Error(ErrorCode::kUsage, path, "--report", "is the file of the model");
  }
}

class Program {
 public:
  explicit Program(const QuantizeOptions& options) : options_(options) {}

  int run() {
    qwen3vl::ModelFiles files = qwen3vl::open_model_files(options_.input, options_.mmproj);
    for (const std::string& text : files.warnings) warn(text);
    OutputFolder folder(options_.output_folder);
    qwen3vl::QuantizerOptions quantizer = quantizer_options(folder, qwen3vl::model_name(files.path));
    if (options_.report) check_report(*options_.report, inputs(), quantizer);
    const Cancellable cancellable;
    std::optional<qwen3vl::Importance> importance;
    if (options_.calibrate) {
      importance = importance_of(files);
      if (!importance) return 128 + pending_signal();
      quantizer.importance = &*importance;
    }
    const double begin = monotonic_seconds();
    const auto report = quantize(files, quantizer);
    if (!report) return 128 + pending_signal();
    folder.keep();
    remove_when_killed({});
    const double seconds = monotonic_seconds() - begin;
    note(report_summary(*report, seconds) + "\n");
    if (options_.report) write_file(*options_.report, report_json(*report, options_.input, seconds));
    print(report_table(*report));
    return 0;
  }

 private:
  qwen3vl::QuantizerOptions quantizer_options(const OutputFolder& folder, const std::string& name) const {
    qwen3vl::QuantizerOptions out{.recipe = options_.recipe};
    if (options_.text) out.text_path = folder.file(name + "-" + options_.recipe.text_label() + ".gguf");
    if (options_.vision)
      out.vision_path = folder.file("mmproj-" + name + "-" + options_.recipe.vision_label() + ".gguf");
    for (const auto& path : {out.text_path, out.vision_path}) {
      if (path) check_target(*path, options_.force);
    }
    out.replace = options_.force;
    out.threads = options_.threads;
    out.cancel = &cancel_flag();
    out.partial_files = [made = folder.made(), this](std::vector<std::string> names) {
      if (made) names.push_back(options_.output_folder);
      remove_when_killed(names);
    };
    return out;
  }

  std::vector<std::string> inputs() const {
    std::vector<std::string> files = ModelSource{.path = options_.input, .mmproj = options_.mmproj}.files();
    if (options_.calibrate) files.push_back(*options_.calibrate);
    return files;
  }

  std::optional<qwen3vl::Importance> importance_of(const qwen3vl::ModelFiles& files) const {
    const auto model = qwen3vl::Model::load(files, {.threads = options_.threads});
    ProgressLine line;
    CalibrateOptions how{.threads = options_.threads, .cancel = &cancel_flag()};
    how.progress = [&](std::size_t done, std::size_t total) {
      line.show("calibrating " + std::to_string(100 * done / std::max<std::size_t>(total, 1)) + " %");
    };
    return calibrate(model, *options_.calibrate, how);
  }

  static std::optional<qwen3vl::QuantizeReport> quantize(const qwen3vl::ModelFiles& files,
                                                         qwen3vl::QuantizerOptions options) {
    constexpr double kInterval = 0.1;  // seconds between two states of the line
    ProgressLine line;
    const double begin = monotonic_seconds();
    double shown = begin;
    options.progress = [&](const qwen3vl::QuantizeProgress& progress) {
      const double now = monotonic_seconds();
      if (now - shown < kInterval || progress.total == 0) return;
      shown = now;
      const bool verifying = progress.phase == qwen3vl::QuantizeProgress::Phase::kVerifying;
      std::string text = verifying ? "verifying " : "quantizing ";
      text += std::to_string(100 * progress.done / progress.total) + " %";
      const double speed = static_cast<double>(progress.done) / 1e6 / (now - begin);
      if (!verifying) text += ", " + std::to_string(static_cast<std::int64_t>(speed)) + " MB/s";
      line.show(text);
    };
    return qwen3vl::quantize_model(files, options);
  }

  const QuantizeOptions& options_;
};

int run(int argc, const char* const* argv) {
  const QuantizeOptions options = parse_quantize_options(argc, argv);
  install_signal_handlers(options.input);
  return Program(options).run();
}

}  // namespace
}  // namespace tessera::programs

int main(int argc, char** argv) {
  return tessera::programs::run_program([&] { return tessera::programs::run(argc, argv); });
}
