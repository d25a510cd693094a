// Every level lays a panel out as the scalar reference does, whose layout pack_blocks_test.cpp and
// matmul_test.cpp hold against ops/matmul/pack.h.
#include "ops/pack_panel/kernels.h"

#include <cstring>
#include <memory>

#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

struct Row {
  IsaLevel level;
  DType dtype;
  const char* name;
  void (*pack)(const ops::PanelRows& panel) noexcept;
};

constexpr Row kRows[] = {
#define TESSERA_KERNEL(level, function, dtype) {IsaLevel::level, DType::dtype, #function, ops::function},
#include "ops/pack_panel/kernels.inc"
#undef TESSERA_KERNEL
};

const Row& reference(DType dtype) {
  return *std::find_if(std::begin(kRows), std::end(kRows),
                       [&](const Row& row) { return row.dtype == dtype && row.level == IsaLevel::kScalar; });
}

struct Case {
  std::int64_t columns, units;
  std::int64_t gap, shift;  // bytes between rows, and before the first one
};

// Bytes of a panel, and as many again that must stay as they are.
std::vector<std::uint8_t> packed(const Row& row, const Case& c) {
  constexpr std::size_t kAlign = 32, kGuard = 64;
  const std::int64_t size = info(row.dtype).block_bytes, stride = c.units * size + c.gap;
  // A buffer of its own that ends where the last row ends, so that sanitizers see what is read beyond.
  const auto bytes = static_cast<std::size_t>(c.shift + (c.columns - 1) * stride + c.units * size);
  const auto file = std::make_unique<std::uint8_t[]>(bytes);
  std::mt19937 engine(static_cast<unsigned>(c.units));
  for (std::size_t i = 0; i < bytes; ++i) file[i] = static_cast<std::uint8_t>(engine());

  const std::int64_t units = row.dtype == DType::kBF16 ? (c.units + 1) / 2 * 2 : c.units;
  const auto panel_bytes = static_cast<std::size_t>(16 * units * size);
  std::vector<std::uint8_t> memory(panel_bytes + kGuard + kAlign, 0xA5);
  std::uint8_t* panel = memory.data();
  panel += (kAlign - reinterpret_cast<std::uintptr_t>(panel) % kAlign) % kAlign;
  row.pack({file.get() + c.shift, stride, c.columns, c.units, panel});
  return {panel, panel + panel_bytes + kGuard};
}

TEST(PackPanel, IsTheSameAtEveryLevel) {
  for (const Row& row : kRows) {
    if (row.level == IsaLevel::kScalar || !Cpu::detect().has(row.level)) continue;
    // Numbers are taken in strips of 32, blocks one by one.
    const std::vector<std::int64_t> units =
        info(row.dtype).block_elems == 1 ? std::vector<std::int64_t>{1, 2, 7, 8, 31, 32, 33, 39, 64, 97}
                                         : std::vector<std::int64_t>{1, 2, 3};
    for (std::int64_t columns = 1; columns <= 16; ++columns) {
      for (const std::int64_t unit : units) {
        for (const auto& [gap, shift] : {std::pair{0, 0}, {0, 1}, {1, 3}, {6, 0}}) {
          const Case c{columns, unit, gap, shift};
          ASSERT_EQ(packed(row, c), packed(reference(row.dtype), c))
              << row.name << ", " << columns << " columns of " << unit << ", gap " << gap;
        }
      }
    }
  }
}

TEST(PackPanel, WritesNothingBehindThePanel) {
  for (const Row& row : kRows) {
    if (!Cpu::detect().has(row.level)) continue;
    for (const std::int64_t units : {1, 3}) {
      const auto bytes = packed(row, {16, units, 0, 0});
      EXPECT_EQ(std::vector(bytes.end() - 64, bytes.end()), std::vector<std::uint8_t>(64, 0xA5)) << row.name;
    }
  }
}

TEST(PackPanel, OfAMatrixMayBeMadeInPieces) {
  std::vector<std::uint16_t> rows(40 * 5);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::uint16_t>(i);
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const ops::PackedWeight whole = ops::pack_weight(TensorView(dtype, {40, 5}, rows.data()), 1);
    const Buffer memory = Buffer::allocate(whole.memory.size());
    std::byte* at = memory.data();
    for (const std::int64_t begin : {0, 16, 32}) {
      const TensorView piece(dtype, {std::min<std::int64_t>(16, 40 - begin), 5},
                             &rows[static_cast<std::size_t>(begin * 5)]);
      const TensorView view = ops::pack_weight(piece, at, {.threads = 2});
      EXPECT_EQ(view.layout, whole.view.layout);
      at += ops::packed_bytes(piece);
    }
    ASSERT_EQ(at, memory.data() + memory.size());
    EXPECT_EQ(std::memcmp(memory.data(), whole.memory.data(), memory.size()), 0);
  }
}

TEST(PackPanel, CopiesF32OnlyWhereItIsNotAligned) {
  std::vector<std::byte> bytes(4 * 6 + 1);
  EXPECT_EQ(ops::packed_bytes(TensorView(DType::kF32, {2, 3}, bytes.data())), 0u);
  EXPECT_EQ(ops::packed_bytes(TensorView(DType::kF32, {2, 3}, bytes.data() + 1)), 24u);
}

}  // namespace
}  // namespace tessera::testing
