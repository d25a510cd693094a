#include "ops/matmul/pack.h"

#include <algorithm>
#include <cstring>

#include "ops/matmul/kernels.h"
#include "ops/matmul/pack_blocks.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "quant/half.h"
#include "tensor/threads.h"

namespace tessera::ops {
namespace {

WeightLayout layout_of(const TensorDesc& weight) { return static_cast<WeightLayout>(weight.layout); }

// Transposes `columns` <= 16 rows of `depth` elements, `stride` bytes apart at any alignment, into
// panel[depth][16], with zeros for the rows that are not there.
template <typename T>
void fill_panel(const std::byte* rows, std::int64_t stride, std::int64_t columns, std::int64_t depth,
                T* panel) {
  constexpr std::int64_t kLine = 64, kStrip = kLine / sizeof(T);  // a cache line of each row at a time
  T strip[kPanelColumns][kStrip] = {};
  for (std::int64_t k = 0; k < depth; k += kStrip) {
    const std::int64_t count = std::min(kStrip, depth - k);
    const std::byte* from = rows + k * static_cast<std::int64_t>(sizeof(T));
    for (std::int64_t c = 0; c < columns; ++c) {
      // A copy of known size is one instruction; it more than doubles the speed of packing.
      if (count == kStrip) {
        std::memcpy(strip[c], from + c * stride, kLine);
      } else {
        std::memcpy(strip[c], from + c * stride, static_cast<std::size_t>(count) * sizeof(T));
      }
    }
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t c = 0; c < kPanelColumns; ++c) panel[(k + i) * kPanelColumns + c] = strip[c][i];
    }
  }
}

void fill_bf16_panel(const std::byte* rows, std::int64_t columns, std::int64_t k, std::byte* panel) {
  const std::int64_t stride = k * 2;
  fill_panel(rows, stride, columns, k / 2, reinterpret_cast<std::uint32_t*>(panel));
  if (k % 2 == 0) return;
  for (std::int64_t c = 0; c < columns; ++c) {
    std::memcpy(panel + (k / 2 * kPanelColumns + c) * 4, rows + c * stride + (k - 1) * 2, 2);
  }
}

void fill_panels(const TensorView& w, const TensorView& packed, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = packed.shape[0], k = packed.shape[1], panel_bytes = weight_stride(packed);
  const DTypeInfo& type = info(packed.dtype);
  const std::int64_t blocks = k / type.block_elems, row_bytes = blocks * type.block_bytes;
  for (std::int64_t p = begin; p < end; ++p) {
    const std::byte* rows = w.data + p * kPanelColumns * row_bytes;
    const std::int64_t columns = std::min<std::int64_t>(kPanelColumns, n - p * kPanelColumns);
    std::byte* panel = packed.data + p * panel_bytes;
    if (layout_of(packed) == WeightLayout::kBlockPanels) {
      find_block_packing(packed.dtype)->pack_panel(rows, row_bytes, columns, blocks, panel);
    } else if (layout_of(packed) == WeightLayout::kBf16Panels) {
      fill_bf16_panel(rows, columns, k, panel);
    } else {
      fill_panel(rows, row_bytes, columns, k, reinterpret_cast<std::uint16_t*>(panel));
    }
  }
}

// Whether products read rows of this dtype as a file has them.
bool has_rows(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

WeightLayout packed_layout(DType dtype) {
  if (dtype == DType::kF16) return WeightLayout::kF16Panels;
  return dtype == DType::kBF16 ? WeightLayout::kBf16Panels : WeightLayout::kBlockPanels;
}

}  // namespace

bool is_weight(const TensorDesc& desc) {
  if (desc.shape.rank() != 2) return false;
  switch (layout_of(desc)) {
    case WeightLayout::kRows:
      return has_rows(desc.dtype) && desc.is_dense();
    case WeightLayout::kF16Panels:
      return desc.dtype == DType::kF16;
    case WeightLayout::kBf16Panels:
      return desc.dtype == DType::kBF16;
    case WeightLayout::kBlockPanels:
      return find_block_packing(desc.dtype) && desc.shape[1] % info(desc.dtype).block_elems == 0;
  }
  return false;
}

std::int64_t weight_stride(const TensorDesc& weight) {
  const std::int64_t k = weight.shape[1];
  switch (layout_of(weight)) {
    case WeightLayout::kF16Panels:
      return k * kPanelColumns * 2;
    case WeightLayout::kBf16Panels:
      return (k + 1) / 2 * kPanelColumns * 4;
    case WeightLayout::kBlockPanels:
      return k / info(weight.dtype).block_elems * info(weight.dtype).block_bytes * kPanelColumns;
    case WeightLayout::kRows:
      break;
  }
  return k * info(weight.dtype).block_bytes;
}

std::int64_t weight_bytes(const TensorDesc& weight) {
  const std::int64_t n = weight.shape[0];
  const bool rows = layout_of(weight) == WeightLayout::kRows;
  return weight_stride(weight) * (rows ? n : (n + kPanelColumns - 1) / kPanelColumns);
}

void unpack_row(const TensorView& weight, std::int64_t row, float* y) noexcept {
  const std::int64_t k = weight.shape[1], stride = weight_stride(weight);
  const std::int64_t panel = row / kPanelColumns, column = row % kPanelColumns;
  const bool bf16 = weight.dtype == DType::kBF16;
  const std::byte* source = weight.data + (layout_of(weight) == WeightLayout::kRows ? row : panel) * stride;
  if (weight.dtype == DType::kF32) {
    std::memcpy(y, source, static_cast<std::size_t>(stride));
    return;
  }
  if (layout_of(weight) == WeightLayout::kBlockPanels) {
    decode_column(*find_block_packing(weight.dtype), source, static_cast<int>(column), k, y);
    return;
  }
  for (std::int64_t i = 0; i < k; ++i) {
    std::int64_t at = i;
    if (layout_of(weight) == WeightLayout::kF16Panels) at = i * kPanelColumns + column;
    if (layout_of(weight) == WeightLayout::kBf16Panels) at = (i / 2 * kPanelColumns + column) * 2 + i % 2;
    std::uint16_t half;
    std::memcpy(&half, source + at * 2, 2);
    y[i] = bf16 ? quant::bf16_to_f32(half) : quant::f16_to_f32(half);
  }
}

PackedWeight pack_weight(const TensorView& w, int threads) {
  const std::int64_t block = info(w.dtype).block_elems;
  if (w.shape.rank() < 2 || !w.is_dense() || w.shape.back() % block != 0 ||
      (!has_rows(w.dtype) && !find_block_packing(w.dtype))) {
    throw Error(ErrorCode::kUsage, "", "pack_weight",
                "w is " + describe(w) + ", expected a dense matrix of f32, f16, bf16 or whole blocks");
  }
  std::int64_t k = 1;
  for (const std::int64_t extent : w.shape.dims().subspan(1)) k *= extent;
  PackedWeight packed;
  packed.view = TensorView(w.dtype, {w.shape[0], k}, w.data);
  if (w.dtype == DType::kF32) {
    if (reinterpret_cast<std::uintptr_t>(w.data) % alignof(float) == 0) return packed;
    packed.memory = Buffer::allocate(static_cast<std::size_t>(weight_bytes(packed.view)));
    std::memcpy(packed.memory.data(), w.data, packed.memory.size());
    packed.view.data = packed.memory.data();
    return packed;
  }
  packed.view.layout = static_cast<std::uint8_t>(packed_layout(w.dtype));
  packed.view.strides = {};
  packed.memory = Buffer::allocate(static_cast<std::size_t>(weight_bytes(packed.view)));
  packed.view.data = packed.memory.data();
  constexpr std::int64_t kGrain = 4;
  parallel_for((w.shape[0] + kPanelColumns - 1) / kPanelColumns, kGrain, threads,
               [&](std::int64_t begin, std::int64_t end) { fill_panels(w, packed.view, begin, end); });
  return packed;
}

}  // namespace tessera::ops
