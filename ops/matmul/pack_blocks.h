// Block formats into panels (WeightLayout::kBlockPanels of ops/matmul/pack.h) and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace tessera::ops {

struct BlockPacking {
  DType dtype;

  // One panel of `blocks` blocks from `columns` <= 16 rows as a file has them, `stride` bytes apart, any
  // alignment. Columns that are not there become blocks of zero bytes.
  void (*pack_panel)(const std::byte* rows, std::int64_t stride, std::int64_t columns, std::int64_t blocks,
                     std::byte* panel) noexcept;
  // A block of one of the panel's columns, as a file has it.
  void (*unpack_block)(const std::byte* panel, std::int64_t block, int column, std::uint8_t* bytes) noexcept;
};

// nullptr for a dtype that has no such panels.
const BlockPacking* find_block_packing(DType dtype);

// y[k] for all k of one column: the numbers that the format's decoder (quant/formats.h) gives.
void decode_column(const BlockPacking& packing, const std::byte* panel, int column, std::int64_t k, float* y);

}  // namespace tessera::ops
