// The table of weight formats: whole rows of any dtype to floats and back, so that nothing else asks which
// format it has. Made from formats.inc.
#pragma once

#include <cstdint>

#include "tensor/api.h"
#include "tensor/cpu.h"
#include "tensor/dtype.h"

namespace tessera::quant {

// Functions on a row of n elements, a multiple of the dtype's block; bytes need no alignment. They compute
// what they promise in IEEE arithmetic with denormals (not under tensor/threads.h's FloatMode; quantize.h
// sees to that).
struct Format {
  DType dtype;

  // Any bytes; may give Inf or NaN where the bytes say so.
  void (*decode_row)(const std::uint8_t* bytes, std::int64_t n, float* x);

  // The ggml library's bytes. x: finite; for formats with blocks, magnitudes up to 2^40.
  // A scale beyond f16 becomes Inf, and decodes so.
  void (*encode_row)(const float* x, std::int64_t n, std::uint8_t* bytes);

  // In each block what encode_row gives or something with a smaller sum of importance * (x - decoded)^2.
  // importance: n finite weights >= 0, or nullptr for equal ones; a block whose weights are all 0 counts as
  // equally weighted. A block that encode_row cannot hold in f16 stays as encode_row leaves it.
  void (*encode_row_best)(const float* x, const float* importance, std::int64_t n, std::uint8_t* bytes);
};

// nullptr for a dtype that is no weight format (kI32, kU8). The CPU decides how fast the functions are: they
// give the same bits on any.
TESSERA_API const Format* find_format(DType dtype, const Cpu& cpu = Cpu());

}  // namespace tessera::quant
