// Panels of block formats and the way back, through embedding.
#include <cstring>

#include "ops/matmul/pack.h"
#include "ops/matmul/pack_blocks.h"
#include "tests/ops/blocks.h"

namespace tessera::testing {
namespace {

// All halves, some of them NaN or Inf: bytes are only moved.
std::vector<std::uint16_t> any_halves() {
  std::vector<std::uint16_t> halves;
  for (unsigned i = 0; i < 0x10000; i += 7) halves.push_back(static_cast<std::uint16_t>(i));
  return halves;
}

TEST(PackBlocks, GivesTheFilesBytesBack) {
  for (const DType dtype : kBlockDTypes) {
    const std::int64_t elems = info(dtype).block_elems;
    const BlockBytes at(dtype);
    for (const std::size_t shift : {0, 1, 3}) {
      const BlockWeight w = BlockWeight::random(dtype, 35, 3 * elems, 1, any_halves(), shift);
      const ops::PackedWeight packed = ops::pack_weight(w.view(), 2);
      EXPECT_EQ(packed.memory.size(), 48 * 3 * at.bytes);
      EXPECT_EQ(packed.view.shape, (Shape{35, 3 * elems}));
      const std::vector<std::uint8_t> zero(at.bytes);
      for (std::int64_t n = 0; n < 48; ++n) {
        const std::byte* panel = packed.view.data + n / 16 * ops::weight_stride(packed.view);
        for (std::int64_t b = 0; b < 3; ++b) {
          std::vector<std::uint8_t> block(at.bytes);
          ops::find_block_packing(dtype)->unpack_block(panel, b, static_cast<int>(n % 16), block.data());
          const auto* source =
              n < 35 ? &w.bytes[shift + static_cast<std::size_t>(n * 3 + b) * at.bytes] : zero.data();
          ASSERT_EQ(std::memcmp(block.data(), source, at.bytes), 0) << info(dtype).name << " row " << n;
        }
      }
    }
  }
}

// ops/matmul/pack.h, for one block of each kind of plane.
TEST(PackBlocks, LaysCodesOutInQuads) {
  const auto code = [](int k, int c) { return (k * 5 + c * 3) % 32; };
  BlockWeight w(DType::kQ5_0, 16, 32);
  for (int c = 0; c < 16; ++c) {
    std::uint8_t* block = &w.bytes[static_cast<std::size_t>(c) * 22];
    block[0] = static_cast<std::uint8_t>(c);
    for (int k = 0; k < 32; ++k) {
      block[6 + k % 16] = static_cast<std::uint8_t>(block[6 + k % 16] | (code(k, c) & 15) << (k / 16 * 4));
      block[2 + k / 8] = static_cast<std::uint8_t>(block[2 + k / 8] | (code(k, c) >> 4) << k % 8);
    }
  }
  const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
  const auto* panel = packed.view.as<std::uint8_t>();
  for (int c = 0; c < 16; ++c) {
    EXPECT_EQ(panel[2 * c], c);
    for (int k = 0; k < 32; ++k) {
      const int vector = k / 4, byte = 4 * c + k % 4;
      const int low = panel[32 + 64 * (vector % 4) + byte] >> (vector / 4 * 4) & 15;
      const int high = panel[32 + 64 * 4 + byte] >> vector & 1;
      ASSERT_EQ(low | high << 4, code(k, c)) << "k " << k << " column " << c;
    }
  }
}

TEST(PackBlocks, StoresEightBitsWithAnOffset) {
  BlockWeight w(DType::kQ8_0, 1, 32);
  for (int k = 0; k < 32; ++k)
    w.bytes[static_cast<std::size_t>(2 + k)] = static_cast<std::uint8_t>(k * 8 - 128);
  const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
  for (int k = 0; k < 32; ++k) EXPECT_EQ(packed.view.as<std::uint8_t>()[32 + k / 4 * 64 + k % 4], k * 8);
}

TEST(PackBlocks, EmbeddingGivesWhatTheDecoderGives) {
  const std::vector<std::int32_t> ids{32, 0, 17, 0, 15, 16, -1, 33};
  for (const DType dtype : kBlockDTypes) {
    for (const std::int64_t k : {256, 768}) {
      const BlockWeight w = BlockWeight::encoded(dtype, random_floats(33 * k, 1), 33, k);
      const auto values = w.values();
      const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
      const auto y = run([&](Graph& g) { return ops::embedding(g, packed.view, view(ids, {8})); });
      for (std::size_t i = 0; i < 6; ++i) {
        const auto bytes = static_cast<std::size_t>(k) * sizeof(float), at = static_cast<std::size_t>(k);
        EXPECT_EQ(std::memcmp(&y[i * at], &values[static_cast<std::size_t>(ids[i]) * at], bytes), 0);
      }
      EXPECT_TRUE(std::isnan(y[static_cast<std::size_t>(6 * k)]) && std::isnan(y.back()));
    }
  }
}

TEST(PackBlocks, EmbeddingKeepsDenormalScales) {
  const BlockWeight w = BlockWeight::random(DType::kQ4_K, 3, 256, 1, {1, 0x3FF, 0x8002});
  const auto values = w.values();
  const std::vector<std::int32_t> ids{0, 1, 2};
  const ops::PackedWeight packed = ops::pack_weight(w.view(), 1);
  EXPECT_EQ(run([&](Graph& g) { return ops::embedding(g, packed.view, view(ids, {3})); }), values);
}

TEST(PackBlocks, RefusesWhatIsNoMatrixOfBlocks) {
  const BlockWeight w(DType::kQ4_K, 2, 256);
  const TensorView torn(DType::kQ4_K, {4, 128}, w.bytes.data());
  expect_usage_error(
      [&](Graph&) { ops::pack_weight(torn, 1); },
      "pack_weight: w is q4_k[4, 128], expected a dense matrix of f32, f16, bf16 or whole blocks");
  const std::vector<std::int32_t> ids(6);
  expect_usage_error(
      [&](Graph&) {
        ops::pack_weight(view(ids, {2, 3}), 1);
      },
      "pack_weight: w is i32[2, 3], expected a dense matrix of f32, f16, bf16 or whole blocks");
  const std::vector<std::int32_t> one(1);
  expect_usage_error(
      [&](Graph& g) { ops::embedding(g, w.view(), view(one, {1})); },
      "embedding: table is q4_k[2, 256], expected a matrix of f32, f16 or bf16, or one packed by "
      "pack_weight");
  expect_usage_error(
      [&](Graph& g) {
        ops::interpolate_positions(g, ops::pack_weight(w.view(), 1).view, {1, 2, 2, 2});
      },
      "interpolate_positions: table is q4_k[2, 256], expected f32, f16 or bf16 [n*n, D]");
}

}  // namespace
}  // namespace tessera::testing
