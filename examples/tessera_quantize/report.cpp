#include "examples/tessera_quantize/report.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace tessera::programs {
namespace {

using Json = nlohmann::ordered_json;

std::string fixed(double value, int digits) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits).ptr;
  return {text, end};
}

std::string scientific(double value) {
  if (value == 0) return "0";
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific, 2).ptr;
  return {text, end};
}

std::string shape_text(const Shape& shape) {
  std::string out;
  for (const std::int64_t extent : shape.dims()) {
    if (!out.empty()) out += 'x';
    out += std::to_string(extent);
  }
  return out;
}

using Row = std::array<std::string, 8>;

Row row_of(const qwen3vl::TensorReport& tensor) {
  const quant::QuantizeStats& stats = tensor.stats;
  return {escape(tensor.name),
          shape_text(tensor.shape),
          std::string(info(tensor.from).name),
          std::string(info(tensor.to).name),
          fixed(stats.bits_per_weight, 2),
          scientific(stats.nmse),
          std::to_string(stats.worst_row),
          scientific(stats.worst_row_nmse)};
}

std::string megabytes(double bytes) { return fixed(bytes / 1e6, 1) + " MB"; }

}  // namespace

std::string report_table(const qwen3vl::QuantizeReport& report) {
  std::vector<Row> rows = {{"tensor", "shape", "from", "to", "bits", "NMSE", "worst row", "its NMSE"}};
  for (const qwen3vl::QuantizedFile& file : report.files) {
    for (const qwen3vl::TensorReport& tensor : file.tensors) rows.push_back(row_of(tensor));
  }
  std::array<std::size_t, 8> width{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  constexpr std::size_t kNumbers = 4;  // from this column on numbers, which end in line
  std::string out;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(width[i] - row[i].size(), ' ');
      out += i < kNumbers ? row[i] + gap : gap + row[i];
      out += i + 1 < row.size() ? "  " : "\n";
    }
  }
  return out;
}

std::string report_json(const qwen3vl::QuantizeReport& report, const std::string& input, double seconds) {
  Json files = Json::array();
  for (const qwen3vl::QuantizedFile& file : report.files) {
    Json tensors = Json::array();
    for (const qwen3vl::TensorReport& tensor : file.tensors) {
      const auto dims = tensor.shape.dims();
      tensors.push_back({{"name", tensor.name},
                         {"source", tensor.source},
                         {"shape", std::vector<std::int64_t>(dims.begin(), dims.end())},
                         {"from", info(tensor.from).name},
                         {"to", info(tensor.to).name},
                         {"bits_per_weight", tensor.stats.bits_per_weight},
                         {"nmse", tensor.stats.nmse},
                         {"worst_row", tensor.stats.worst_row},
                         {"worst_row_nmse", tensor.stats.worst_row_nmse}});
    }
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"tensors", tensors}});
  }
  const Json out = {{"input", input},
                    {"bytes_read", report.bytes_read},
                    {"seconds", seconds},
                    {"waiting_for_reads", report.waiting_for_reads},
                    {"encoding", report.encoding},
                    {"writing", report.writing},
                    {"verifying", report.verifying},
                    {"files", files}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string report_summary(const qwen3vl::QuantizeReport& report, double seconds) {
  std::uint64_t written = 0;
  for (const qwen3vl::QuantizedFile& file : report.files) written += file.bytes;
  const std::pair<double, const char*> parts[] = {{report.encoding, "encoding"},
                                                  {report.waiting_for_reads, "waiting for reads"},
                                                  {report.writing, "writing"},
                                                  {report.verifying, "verifying"}};
  std::string shares;
  for (const auto& [time, name] : parts) {
    if (!shares.empty()) shares += ", ";
    shares += fixed(time, 2) + " s " + name;
  }
  const auto limit = std::max_element(std::begin(parts), std::end(parts));
  const auto read = static_cast<double>(report.bytes_read);
  return "read " + megabytes(read) + ", wrote " + megabytes(static_cast<double>(written)) + " in " +
         fixed(seconds, 2) + " s, " + fixed(read / 1e6 / std::max(seconds, 1e-9), 0) + " MB/s, most of it " +
         limit->second + " (" + shares + ")";
}

}  // namespace tessera::programs
