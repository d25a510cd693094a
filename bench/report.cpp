#include "bench/report.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

namespace tessera::bench {
namespace {

struct Spread {
  double median = 0, least = 0, most = 0;
};

Spread spread(const std::vector<Sample>& samples, const std::function<double(const Sample&)>& value) {
  std::vector<double> values;
  for (const Sample& sample : samples) values.push_back(value(sample));
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return {median(values), *least, *most};
}

// A row as it is printed. Shares are of the limit, 1 being all of it.
struct Line {
  std::string test, unit;
  int threads = 0;
  Spread result;
  std::optional<double> gbytes, gflops, of_read, of_copy, of_f32, of_bf16, of_int8;
};

Line line_of(const Report& report, const ReportRow& row) {
  const bool rate = row.samples.front().tokens > 0;
  Line line{row.test, rate ? "tok/s" : "s", row.threads, {}, {}, {}, {}, {}, {}, {}, {}};
  line.result = spread(row.samples, [&](const Sample& s) { return rate ? s.tokens / s.seconds : s.seconds; });
  const auto roofs = std::find_if(report.limits.begin(), report.limits.end(),
                                  [&](const Roofs& r) { return r.threads == row.threads; });
  if (row.limit == ReportRow::Limit::kNone || roofs == report.limits.end()) return line;

  const double bytes = spread(row.samples, [](const Sample& s) { return s.cost.bytes / s.seconds; }).median;
  const double flops = spread(row.samples, [](const Sample& s) { return s.cost.flops / s.seconds; }).median;
  if (row.limit == ReportRow::Limit::kMemory) {
    line.gbytes = bytes / 1e9;
    std::vector<double> shares;
    for (const Sample& sample : row.samples) {
      if (sample.of_read > 0) shares.push_back(sample.of_read);
    }
    if (!shares.empty()) line.of_read = median(std::move(shares));
    return line;
  }
  if (row.limit == ReportRow::Limit::kCopy) {
    line.gbytes = bytes / 1e9;
    line.of_copy = bytes / roofs->copy;
    return line;
  }
  line.gflops = flops / 1e9;
  if (roofs->f32 > 0) line.of_f32 = flops / roofs->f32;
  if (roofs->bf16() > 0) line.of_bf16 = flops / roofs->bf16();
  if (roofs->int8() > 0) line.of_int8 = flops / roofs->int8();
  return line;
}

std::string number(double value) {
  const int decimals = value >= 1000 ? 0 : value >= 100 ? 1 : value >= 10 ? 2 : 4;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string number(const std::optional<double>& value) { return value ? number(*value) : ""; }

std::string percent(const std::optional<double>& share) {
  if (!share) return "";
  char text[64];
  std::snprintf(text, sizeof text, "%.1f", 100 * *share);
  return text;
}

using Cells = std::vector<std::string>;

std::vector<Cells> cells(const Report& report) {
  std::vector<Cells> out = {{"threads", "test", "median", "min", "max", "unit", "GB/s", "% read", "% copy",
                             "GFLOP/s", "% f32", "% bf16", "% int8"}};
  for (const ReportRow& row : report.rows) {
    const Line line = line_of(report, row);
    out.push_back({std::to_string(line.threads), line.test, number(line.result.median),
                   number(line.result.least), number(line.result.most), line.unit, number(line.gbytes),
                   percent(line.of_read), percent(line.of_copy), number(line.gflops), percent(line.of_f32),
                   percent(line.of_bf16), percent(line.of_int8)});
  }
  return out;
}

std::string mebibytes(std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// "2711 MiB loading, 1.010 x weights": memory in use, and how that compares with what it must hold.
std::string memory(std::size_t bytes, const char* when, std::size_t held, const char* what) {
  char text[64];
  std::snprintf(text, sizeof text, " %s, %.3f x ", when,
                static_cast<double>(bytes) / static_cast<double>(held));
  return mebibytes(bytes) + text + what;
}

std::string markdown(const Report& report) {
  std::string out = "tessera-bench " + report.version + ", " + report.cpu + ", " + report.level + "\n" +
                    report.model + ", weights " + mebibytes(report.weight_bytes) + ", cache " + report.cache +
                    "\nmemory: " + memory(report.load_rss, "loading", report.weight_bytes, "weights") + "; " +
                    memory(report.peak_rss, "at most", report.model_bytes, "weights, cache and arena") +
                    "\n\n";
  for (const Roofs& roofs : report.limits) {
    out += "limits with -t " + std::to_string(roofs.threads) + ": ";
    std::string separator;
    for (const auto& [what, amount] : describe(roofs)) {
      out += separator + what + " " + amount;
      separator = ", ";
    }
    out += "\n";
  }
  const std::vector<Cells> table = cells(report);
  Cells rule;
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < table[0].size(); ++column) {
    std::size_t width = 3;
    for (const Cells& row : table) width = std::max(width, row[column].size());
    widths.push_back(width);
    rule.push_back(std::string(width - 1, '-') + ':');
  }
  const auto write = [&](const Cells& row) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      out += "| " + std::string(widths[column] - row[column].size(), ' ') + row[column] + " ";
    }
    out += "|\n";
  };
  out += "\n";
  write(table[0]);
  write(rule);
  for (std::size_t i = 1; i < table.size(); ++i) write(table[i]);
  return out;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + '"';
}

// What the table's head says stands in each line, for files that are joined.
std::string csv(const Report& report) {
  const std::vector<Cells> table = cells(report);
  std::string out;
  for (std::size_t i = 0; i < table.size(); ++i) {
    out +=
        i ? quoted(report.version) + "," + quoted(report.cpu) + "," + report.level + "," +
                quoted(report.model) + "," + report.cache + "," + std::to_string(report.weight_bytes) + "," +
                std::to_string(report.load_rss) + "," + std::to_string(report.model_bytes) + "," +
                std::to_string(report.peak_rss)
          : "version,cpu,level,model,cache,weight bytes,loading memory bytes,model bytes,peak memory bytes";
    for (const std::string& cell : table[i]) out += "," + cell;
    out += "\n";
  }
  return out;
}

std::string json(const Report& report) {
  using Json = nlohmann::ordered_json;
  Json out = {{"version", report.version},
              {"cpu", report.cpu},
              {"level", report.level},
              {"model", report.model},
              {"cache", report.cache},
              {"weight_bytes", report.weight_bytes},
              {"load_rss_bytes", report.load_rss},
              {"model_bytes", report.model_bytes},
              {"peak_rss_bytes", report.peak_rss},
              {"limits", Json::array()},
              {"rows", Json::array()}};
  for (const Roofs& r : report.limits) {
    out["limits"].push_back({{"threads", r.threads},
                             {"read_bytes_per_s", r.read},
                             {"copy_bytes_per_s", r.copy},
                             {"f32_flops_per_s", r.f32},
                             {"bf16_dot_flops_per_s", r.bf16_dot},
                             {"int8_dot_ops_per_s", r.int8_dot},
                             {"bf16_tile_flops_per_s", r.bf16_tile},
                             {"int8_tile_ops_per_s", r.int8_tile}});
  }
  for (const ReportRow& row : report.rows) {
    const Line line = line_of(report, row);
    Json entry = {{"threads", line.threads},      {"test", line.test},        {"unit", line.unit},
                  {"median", line.result.median}, {"min", line.result.least}, {"max", line.result.most}};
    const auto add = [&](const char* key, const std::optional<double>& value) {
      if (value) entry[key] = *value;
    };
    add("gbytes_per_s", line.gbytes);
    add("share_of_read", line.of_read);
    add("share_of_copy", line.of_copy);
    add("gflops_per_s", line.gflops);
    add("share_of_f32", line.of_f32);
    add("share_of_bf16", line.of_bf16);
    add("share_of_int8", line.of_int8);
    for (const Sample& sample : row.samples) {
      entry["seconds"].push_back(sample.seconds);
      if (row.limit == ReportRow::Limit::kMemory)
        entry["shares_of_read"].push_back(sample.of_read > 0 ? Json(sample.of_read) : Json());
    }
    out["rows"].push_back(std::move(entry));
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

std::optional<ReportFormat> report_format_from_name(std::string_view name) {
  if (name == "md") return ReportFormat::kMarkdown;
  if (name == "csv") return ReportFormat::kCsv;
  if (name == "json") return ReportFormat::kJson;
  return std::nullopt;
}

std::string to_string(const Report& report, ReportFormat format) {
  switch (format) {
    case ReportFormat::kCsv:
      return csv(report);
    case ReportFormat::kJson:
      return json(report);
    default:
      return markdown(report);
  }
}

}  // namespace tessera::bench
