#include "tensor/trace.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <locale>

#include "tensor/error.h"

namespace tessera {
namespace {

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : escape(text, 4 * text.size() + 1)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// With a point whatever the locale.
std::string number(double value) {
  char text[330];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, 3).ptr;
  return {text, end};
}

}  // namespace

void TraceWriter::run_begins(const Plan& plan, int threads) {
  threads_ = threads;
  first_label_ = labels_.size();
  first_piece_ = pieces_.size();
  for (const Step& step : plan.steps()) {
    labels_.push_back(
        {phase_, step.op->name, step.plan.kernel, step.name, step.output.desc.shape.to_string(), step.cost});
  }
  pieces_.resize(first_piece_ + plan.steps().size() * static_cast<std::size_t>(threads));
}

void TraceWriter::thread_worked(int step, int thread, std::int64_t begin_ns, std::int64_t end_ns) noexcept {
  const std::size_t at = first_piece_ + static_cast<std::size_t>(step * threads_ + thread);
  pieces_[at] = {static_cast<std::int32_t>(first_label_) + step, thread, begin_ns, end_ns};
}

void TraceWriter::write(const std::string& path) const {
  std::vector<double> step_ns(labels_.size());
  double total_ns = 0;
  std::int64_t origin_ns = std::numeric_limits<std::int64_t>::max();
  for (const Piece& piece : pieces_) {
    if (!piece.worked()) continue;
    origin_ns = std::min(origin_ns, piece.begin_ns);
    step_ns[static_cast<std::size_t>(piece.label)] += static_cast<double>(piece.end_ns - piece.begin_ns);
    total_ns += static_cast<double>(piece.end_ns - piece.begin_ns);
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (!file) throw Error(ErrorCode::kOutput, path, "", "cannot open the trace for writing");
  file.imbue(std::locale::classic());
  file << "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  const char* separator = "\n";
  for (const Piece& piece : pieces_) {
    if (!piece.worked()) continue;
    const auto index = static_cast<std::size_t>(piece.label);
    const Label& label = labels_[index];
    file << separator << "{\"ph\":\"X\",\"pid\":1,\"tid\":" << piece.thread
         << ",\"cat\":" << json_string(label.phase) << ",\"name\":" << json_string(label.op)
         << ",\"ts\":" << number(static_cast<double>(piece.begin_ns - origin_ns) / 1e3)
         << ",\"dur\":" << number(static_cast<double>(piece.end_ns - piece.begin_ns) / 1e3)
         << ",\"args\":{\"name\":" << json_string(label.name) << ",\"kernel\":" << json_string(label.kernel)
         << ",\"shape\":" << json_string(label.shape) << ",\"bytes\":" << number(label.cost.bytes)
         << ",\"flops\":" << number(label.cost.flops) << ",\"share\":\""
         << number(total_ns > 0 ? 100 * step_ns[index] / total_ns : 0) << " %\""
         << "}}";
    separator = ",\n";
  }
  file << "\n]}\n";
  file.close();
  if (!file) {
    std::error_code ignored;
    // A device such as /dev/full is not ours to remove.
    if (std::filesystem::is_regular_file(path, ignored)) std::filesystem::remove(path, ignored);
    throw Error(ErrorCode::kOutput, path, "", "cannot write the trace");
  }
}

}  // namespace tessera
