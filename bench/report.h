// What tessera-bench found, and how it is written down.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/roofs.h"
#include "tensor/op.h"

namespace tessera::bench {

// One repetition.
struct Sample {
  double seconds = 0;
  double tokens = 0;  // 0: the time itself is the result
  OpCost cost{};
  double of_read = 0;  // share of reading memory, measured between the tokens; 0: not measured
};

struct ReportRow {
  std::string test;
  int threads = 0;
  std::vector<Sample> samples;
  enum class Limit {
    kNone,
    kArithmetic,
    kMemory,
    kCopy
  } limit = Limit::kNone;  // which one the test is held against
};

struct Report {
  std::string version, cpu, level, model, cache;  // cache: type of the keys and values
  // Most memory in use, beyond what was before the model, while it was loaded and all in all; and what its
  // weights, and its weights, cache and arenas take. The limit of both quotients is 1.
  std::size_t load_rss = 0, peak_rss = 0, weight_bytes = 0, model_bytes = 0;
  std::vector<Roofs> limits;  // one for each number of threads
  std::vector<ReportRow> rows;
};

double median(std::vector<double> values);  // of at least one

enum class ReportFormat { kMarkdown, kCsv, kJson };
std::optional<ReportFormat> report_format_from_name(std::string_view name);  // md, csv, json

// Median, least and largest of each row's result (tok/s or s), and its share of the limit with as many
// threads: the median of Sample::of_read (none where it was never measured), or the median's share of copying
// memory, of f32 and of the faster bf16 and int8 arithmetic.
std::string to_string(const Report& report, ReportFormat format);

}  // namespace tessera::bench
