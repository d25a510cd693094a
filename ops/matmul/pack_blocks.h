// Blocks back out of panels (WeightLayout::kBlockPanels of ops/matmul/pack.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace tessera::ops {

struct BlockPacking {
  DType dtype;

  // A block of one of the panel's columns, as a file has it.
  void (*unpack_block)(const std::byte* panel, std::int64_t block, int column, std::uint8_t* bytes) noexcept;
};

// nullptr for a dtype that has no such panels.
const BlockPacking* find_block_packing(DType dtype);

// y[k] for all k of one column: the numbers that the format's decoder (quant/formats.h) gives.
void decode_column(const BlockPacking& packing, const std::byte* panel, int column, std::int64_t k, float* y);

}  // namespace tessera::ops
