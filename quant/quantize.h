// Whole matrices from one format to another, on several threads, with what it cost.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tensor/api.h"
#include "tensor/cpu.h"
#include "tensor/dtype.h"

namespace tessera::quant {

// Reference: the ggml library's bytes. Best: scales searched for the smallest error; never worse in a block.
enum class Encoder { kReference, kBest };

struct QuantizeJob {
  DType from = DType::kF32;
  DType to = DType::kQ4_0;
  std::int64_t rows = 0, columns = 0;  // both formats' rows lie one after the other without gaps
  Encoder encoder = Encoder::kBest;
  std::span<const float> importance{};  // for kBest: a weight >= 0 for each column; empty: all equal
  int threads = 1;
  // For errors and statistics: names, and the row of the whole tensor with which these rows begin.
  std::string file{}, tensor{};
  std::int64_t first_row = 0;
  Cpu cpu = Cpu::from_environment();  // how fast; the bytes are the same on any
};

// NMSE of some numbers: sum (x - decoded)^2 / sum x^2, in double; 0 where all are kept exactly.
struct TESSERA_API QuantizeStats {
  double nmse = 0;
  std::int64_t worst_row = 0;  // the first row of the largest NMSE
  double worst_row_nmse = 0;
  double bits_per_weight = 0;
  // What nmse is the quotient of: sum (x - decoded)^2 and sum x^2.
  double squared_error = 0, squared_norm = 0;

  // Adds those of further rows of the same tensor and format.
  void add(const QuantizeStats& further);
};

// The format in which a row of `columns` elements is written to a file when `wanted` is asked for: itself
// where its block divides the row; else Q5_0 for Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K; F16 where blocks of 32
// do not divide it either (as llama.cpp, spec/qwen3-vl.md 9.4).
TESSERA_API DType fitting_format(DType wanted, std::int64_t columns);

// Bytes of a row. Error{kUsage} where the dtype's block does not divide it.
TESSERA_API std::int64_t row_bytes(DType dtype, std::int64_t columns);

// Reads rows * row_bytes(from) bytes, writes rows * row_bytes(to) bytes; where both formats are one, a copy.
// The bytes and the statistics do not
// depend on the number of threads, nor on how the caller's thread treats denormals: they are kept where the
// format has them, and a scale too small for f16 is 0.
//
// Error{kModel} names tensor, row and column (from 0) of the first number in row order that is NaN or Inf,
// or that needs a scale or a value outside the format's range; `to` then holds no useful bytes.
// Error{kUsage}: sizes, a dtype that is no weight format, or importance that is not `columns` finite
// numbers >= 0.
TESSERA_API QuantizeStats quantize_rows(const QuantizeJob& job, const std::uint8_t* from, std::uint8_t* to);

// Throws the errors of quantize_rows for numbers that are NaN or Inf among rows * row_bytes(from) bytes:
// scales of blocks too. `to`, encoder and importance do not matter.
TESSERA_API void check_rows(const QuantizeJob& job, const std::uint8_t* from);

}  // namespace tessera::quant
