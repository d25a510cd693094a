// A panel of a weight from 16 rows of a file (layouts: ops/matmul/pack.h). Bytes only change their order and
// bits their place within bytes, so all levels give the same.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/matmul/block_formats.h"

namespace tessera::ops {

struct PanelRows {
  const std::uint8_t* rows;  // the first, as a file has it, at any alignment; nothing beyond the last is read
  std::int64_t stride;       // bytes from one row to the next
  std::int64_t columns;      // rows that there are, 1 to 16; the panel has zero bytes for the others
  std::int64_t units;        // of a row: blocks, f16 numbers, or bf16 numbers
  std::uint8_t* panel;       // aligned to 32
};

#define TESSERA_KERNEL(level, function, dtype) void function(const PanelRows& panel) noexcept;
#include "ops/pack_panel/kernels.inc"
#undef TESSERA_KERNEL

}  // namespace tessera::ops
