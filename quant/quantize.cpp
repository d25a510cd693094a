#include "quant/quantize.h"

#include <algorithm>
#include <cfenv>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "quant/block.h"
#include "quant/formats.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera::quant {
namespace {

// While it lives, this thread computes with denormals and rounds to nearest.
class IeeeArithmetic {
 public:
  IeeeArithmetic() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~IeeeArithmetic() { std::fesetenv(&saved_); }
  IeeeArithmetic(const IeeeArithmetic&) = delete;
  IeeeArithmetic& operator=(const IeeeArithmetic&) = delete;

 private:
  std::fenv_t saved_;
};

struct RowResult {
  double error = 0, energy = 0;
  enum Fault { kNone, kNotFinite, kOutOfRange } fault = kNone;
  std::int64_t column = 0;  // of the fault
  float value = 0;

  double nmse() const { return energy > 0 ? error / energy : 0; }
};

std::string text(float value) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

[[noreturn]] void bad_job(const QuantizeJob& job, const std::string& reason) {
  throw Error(ErrorCode::kUsage, job.file, job.tensor, reason);
}

const Format& format_of(const QuantizeJob& job, DType dtype) {
  const Format* format = find_format(dtype, job.cpu);
  if (!format) bad_job(job, std::string(info(dtype).name) + " is no weight format");
  return *format;
}

void check(const QuantizeJob& job) {
  if (job.rows < 0 || job.columns < 0)
    bad_job(job, "size is negative (got " + std::to_string(job.rows) + " rows of " +
                     std::to_string(job.columns) + " columns)");
  for (const DType dtype : {job.from, job.to}) {
    if (job.columns % info(dtype).block_elems != 0)
      bad_job(job, "rows are no whole blocks of " + std::string(info(dtype).name) + " (got " +
                       std::to_string(job.columns) + " columns, expected a multiple of " +
                       std::to_string(info(dtype).block_elems) + ")");
  }
  if (job.importance.empty()) return;
  if (job.importance.size() != static_cast<std::size_t>(job.columns))
    bad_job(job, "importance has the wrong length (got " + std::to_string(job.importance.size()) +
                     ", expected " + std::to_string(job.columns) + ")");
  for (std::size_t i = 0; i < job.importance.size(); ++i) {
    if (!(std::isfinite(job.importance[i]) && job.importance[i] >= 0))
      bad_job(job, "importance is not a finite number >= 0 (got " + text(job.importance[i]) + " at column " +
                       std::to_string(i) + ")");
  }
}

// One thread's buffers.
class RowQuantizer {
 public:
  RowQuantizer(const QuantizeJob& job, const Format& from, const Format& to)
      : job_(job), from_(from), to_(to), x_(static_cast<std::size_t>(job.columns)), decoded_(x_.size()) {}

  // Decodes a row; not finite numbers are faults.
  RowResult check(const std::uint8_t* from) {
    RowResult result;
    from_.decode_row(from, job_.columns, x_.data());
    find_fault(
        x_, [](float v) { return !std::isfinite(v); }, RowResult::kNotFinite, &result);
    return result;
  }

  RowResult run(const std::uint8_t* from, std::uint8_t* to) {
    const std::int64_t n = job_.columns;
    RowResult result = check(from);
    if (result.fault != RowResult::kNone) return result;
    if (from_.dtype == to_.dtype) {
      std::memcpy(to, from, static_cast<std::size_t>(row_bytes(to_.dtype, n)));
      for (const float v : x_) result.energy += double{v} * v;
      return result;
    }
    const bool blocks = info(to_.dtype).block_elems > 1;
    if (blocks &&
        find_fault(
            x_, [](float v) { return std::fabs(v) > kMaxMagnitude; }, RowResult::kOutOfRange, &result))
      return result;
    if (job_.encoder == Encoder::kBest) {
      to_.encode_row_best(x_.data(), job_.importance.empty() ? nullptr : job_.importance.data(), n, to);
    } else {
      to_.encode_row(x_.data(), n, to);
    }
    to_.decode_row(to, n, decoded_.data());
    if (find_fault(
            decoded_, [](float v) { return !std::isfinite(v); }, RowResult::kOutOfRange, &result)) {
      blame_largest(&result);
      return result;
    }
    for (std::size_t i = 0; i < x_.size(); ++i) {
      const double x = x_[i], rest = x - decoded_[i];
      result.error += rest * rest;
      result.energy += x * x;
    }
    return result;
  }

 private:
  template <typename Bad>
  bool find_fault(const std::vector<float>& values, Bad bad, RowResult::Fault fault,
                  RowResult* result) const {
    const auto at = std::find_if(values.begin(), values.end(), bad);
    if (at == values.end()) return false;
    result->fault = fault;
    result->column = at - values.begin();
    result->value = x_[static_cast<std::size_t>(result->column)];
    return true;
  }

  // A block whose scale does not fit decodes to Inf in other places than the number that made it so.
  void blame_largest(RowResult* result) const {
    const std::int64_t block = info(to_.dtype).block_elems, first = result->column / block * block;
    const auto begin = x_.begin() + first;
    const auto at =
        std::max_element(begin, begin + block, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    result->column = at - x_.begin();
    result->value = *at;
  }

  const QuantizeJob& job_;
  const Format& from_;
  const Format& to_;
  std::vector<float> x_, decoded_;
};

[[noreturn]] void report(const QuantizeJob& job, std::int64_t row, const RowResult& result) {
  const std::string place =
      " at row " + std::to_string(job.first_row + row) + ", column " + std::to_string(result.column);
  const std::string value = "(got " + text(result.value);
  if (result.fault == RowResult::kNotFinite)
    throw Error(ErrorCode::kModel, job.file, job.tensor, "weight is not finite" + place + " " + value + ")");
  throw Error(ErrorCode::kModel, job.file, job.tensor,
              "weight is outside the range of " + std::string(info(job.to).name) + place + " " + value + ")");
}

// What work(quantizer, row) gives for each row; throws for the first fault.
template <typename Work>
std::vector<RowResult> for_all_rows(const QuantizeJob& job, const Format& from, const Format& to,
                                    const Work& work) {
  std::vector<RowResult> results(static_cast<std::size_t>(job.rows));
  // Pieces of some 64 Ki elements: large beside what starting one costs, small enough to balance.
  const std::int64_t grain = std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, job.columns));
  parallel_for(job.rows, grain, std::max(1, job.threads), [&](std::int64_t begin, std::int64_t end) {
    const IeeeArithmetic arithmetic;
    RowQuantizer quantizer(job, from, to);
    for (std::int64_t row = begin; row < end; ++row)
      results[static_cast<std::size_t>(row)] = work(quantizer, row);
  });
  for (std::int64_t row = 0; row < job.rows; ++row) {
    const RowResult& result = results[static_cast<std::size_t>(row)];
    if (result.fault != RowResult::kNone) report(job, row, result);
  }
  return results;
}

}  // namespace

DType fitting_format(DType wanted, std::int64_t columns) {
  DType dtype = wanted;
  if (columns % info(dtype).block_elems != 0) {
    if (wanted == DType::kQ4_K) dtype = DType::kQ5_0;
    if (wanted == DType::kQ5_K) dtype = DType::kQ5_1;
    if (wanted == DType::kQ6_K) dtype = DType::kQ8_0;
  }
  return columns % info(dtype).block_elems == 0 ? dtype : DType::kF16;
}

std::int64_t row_bytes(DType dtype, std::int64_t columns) {
  const DTypeInfo& format = info(dtype);
  std::uint64_t bytes = 0;
  if (columns < 0 || columns % format.block_elems != 0 ||
      !checked_mul(static_cast<std::uint64_t>(columns / format.block_elems),
                   static_cast<std::uint64_t>(format.block_bytes), &bytes) ||
      bytes > INT64_MAX)
    throw Error(ErrorCode::kUsage, "", std::string(format.name),
                "a row is no whole number of blocks (got " + std::to_string(columns) + " columns)");
  return static_cast<std::int64_t>(bytes);
}

void QuantizeStats::add(const QuantizeStats& further) {
  squared_error += further.squared_error;
  squared_norm += further.squared_norm;
  nmse = squared_norm > 0 ? squared_error / squared_norm : 0;
  bits_per_weight = further.bits_per_weight;
  if (further.worst_row_nmse > worst_row_nmse)
    worst_row = further.worst_row, worst_row_nmse = further.worst_row_nmse;
}

QuantizeStats quantize_rows(const QuantizeJob& job, const std::uint8_t* from, std::uint8_t* to) {
  const Format &source = format_of(job, job.from), &target = format_of(job, job.to);
  check(job);
  const std::int64_t from_bytes = row_bytes(job.from, job.columns), to_bytes = row_bytes(job.to, job.columns);
  const std::vector<RowResult> results =
      for_all_rows(job, source, target, [&](RowQuantizer& quantizer, std::int64_t row) {
        return quantizer.run(from + row * from_bytes, to + row * to_bytes);
      });
  QuantizeStats stats;
  stats.bits_per_weight = 8.0 * info(job.to).block_bytes / info(job.to).block_elems;
  for (std::int64_t row = 0; row < job.rows; ++row) {
    const RowResult& result = results[static_cast<std::size_t>(row)];
    stats.squared_error += result.error;
    stats.squared_norm += result.energy;
    if (result.nmse() > stats.worst_row_nmse)
      stats.worst_row = job.first_row + row, stats.worst_row_nmse = result.nmse();
  }
  stats.nmse = stats.squared_norm > 0 ? stats.squared_error / stats.squared_norm : 0;
  return stats;
}

void check_rows(const QuantizeJob& job, const std::uint8_t* from) {
  QuantizeJob copy = job;
  copy.to = job.from;
  copy.importance = {};
  const Format& source = format_of(copy, copy.from);
  check(copy);
  const std::int64_t bytes = row_bytes(copy.from, copy.columns);
  for_all_rows(copy, source, source, [&](RowQuantizer& quantizer, std::int64_t row) {
    return quantizer.check(from + row * bytes);
  });
}

}  // namespace tessera::quant
