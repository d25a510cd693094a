#include "ops/matmul/pack.h"

#include <algorithm>
#include <cstring>

#include "ops/matmul/kernels.h"
#include "ops/matmul/pack_blocks.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "ops/pack_panel/kernels.h"
#include "quant/half.h"
#include "tensor/threads.h"

namespace tessera::ops {
namespace {

WeightLayout layout_of(const TensorDesc& weight) { return static_cast<WeightLayout>(weight.layout); }

struct PackRow {
  IsaLevel level;
  DType dtype;
  void (*pack)(const PanelRows& panel) noexcept;
};

constexpr PackRow kPackRows[] = {
#define TESSERA_KERNEL(level, function, dtype) {IsaLevel::level, DType::dtype, function},
#include "ops/pack_panel/kernels.inc"
#undef TESSERA_KERNEL
};

// Panels [begin, end) of `packed` from the matrix w.
void pack_panels(const TensorView& w, const TensorView& packed, const PackRow& row, std::int64_t begin,
                 std::int64_t end) {
  const std::int64_t n = packed.shape[0], panel_bytes = weight_stride(packed);
  const DTypeInfo& type = info(packed.dtype);
  const std::int64_t units = packed.shape[1] / type.block_elems, row_bytes = units * type.block_bytes;
  for (std::int64_t p = begin; p < end; ++p) {
    row.pack({.rows = w.as<const std::uint8_t>() + p * kPanelColumns * row_bytes,
              .stride = row_bytes,
              .columns = std::min<std::int64_t>(kPanelColumns, n - p * kPanelColumns),
              .units = units,
              .panel = packed.as<std::uint8_t>() + p * panel_bytes});
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

TensorDesc packed_desc(const TensorView& w) {
  const std::int64_t block = info(w.dtype).block_elems;
  if (w.shape.rank() < 2 || !w.is_dense() || w.shape.back() % block != 0 ||
      (!has_rows(w.dtype) && !find_block_packing(w.dtype))) {
    throw Error(ErrorCode::kUsage, "", "pack_weight",
                "w is " + describe(w) + ", expected a dense matrix of f32, f16, bf16 or whole blocks");
  }
  std::int64_t k = 1;
  for (const std::int64_t extent : w.shape.dims().subspan(1)) k *= extent;
  TensorDesc packed = TensorDesc::dense(w.dtype, {w.shape[0], k});
  if (w.dtype == DType::kF32) return packed;
  packed.layout = static_cast<std::uint8_t>(packed_layout(w.dtype));
  packed.strides = {};
  return packed;
}

std::size_t packed_bytes(const TensorView& w) {
  const TensorDesc packed = packed_desc(w);
  const bool in_place =
      w.dtype == DType::kF32 && reinterpret_cast<std::uintptr_t>(w.data) % alignof(float) == 0;
  return in_place ? 0 : static_cast<std::size_t>(weight_bytes(packed));
}

TensorView pack_weight(const TensorView& w, std::byte* memory, const PackOptions& options) {
  const TensorView packed(packed_desc(w), memory);
  if (w.dtype == DType::kF32) {
    std::memcpy(memory, w.data, static_cast<std::size_t>(weight_bytes(packed)));
    return packed;
  }
  const PackRow& row = *std::find_if(std::begin(kPackRows), std::end(kPackRows), [&](const PackRow& each) {
    return each.dtype == w.dtype && options.cpu.has(each.level);
  });
  constexpr std::int64_t kGrain = 4;
  parallel_for((w.shape[0] + kPanelColumns - 1) / kPanelColumns, kGrain, options.threads,
               [&](std::int64_t begin, std::int64_t end) { pack_panels(w, packed, row, begin, end); });
  return packed;
}

PackedWeight pack_weight(const TensorView& w, int threads) {
  const std::size_t bytes = packed_bytes(w);
  if (bytes == 0) return {TensorView(packed_desc(w), w.data), {}};
  PackedWeight packed{{}, Buffer::allocate(bytes, Pages::kHuge)};
  packed.view = pack_weight(w, packed.memory.data(), {.threads = threads});
  return packed;
}

}  // namespace tessera::ops
