// One row of a cache from floats.
//
// x: n floats, y: as many elements of the type of the kernel's row in kernels.inc; for kQ8_0 blocks as
// quant/q8_0.h draws them, n a multiple of 32. Any alignment of elements, blocks of 2 bytes.
//
//   f32    the bits of x
//   f16    rounded to nearest, halves to even; a NaN stays one
//   bf16   the same
//   q8_0   what its encoder (quant/q8_0.h) gives, bit for bit; a block with a NaN or Inf: d = NaN, all q = 0.
//          append_rows.cpp takes blocks to their places (ops/cache_tiles.h)
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::ops {

#define TESSERA_KERNEL(level, function, cache) \
  void function(const float* x, std::int64_t n, std::byte* y) noexcept;
#include "ops/append_rows/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
