// A q8_0 cache as ops/cache_tiles.h draws it, written down once more.
#pragma once

#include <cstring>
#include <vector>

#include "ops/ops.h"
#include "quant/q8_0.h"

namespace tessera::testing {

struct Q8_0Cache {
  TensorDesc desc;
  bool keys;
  std::vector<std::uint8_t> bytes;

  Q8_0Cache(ops::CachePart part, const Shape& shape, std::uint8_t fill)
      : desc(ops::cache_desc(DType::kQ8_0, part, shape)), keys(part == ops::CachePart::kKeys) {
    bytes.resize(tile_of(shape, 0, shape[1]), fill);
  }

  // Of block b of row s of a head in a cache of that shape, in bytes.
  static std::size_t scale_at(const Shape& shape, std::int64_t s, std::int64_t head, std::int64_t b) {
    return tile_of(shape, s, head) + static_cast<std::size_t>(32 * shape[2] + b * 64 + s % 32 * 2);
  }
  std::size_t scale_at(std::int64_t s, std::int64_t head, std::int64_t b) const {
    return scale_at(desc.shape, s, head, b);
  }
  void put(std::int64_t s, std::int64_t head, std::int64_t b, const quant::BlockQ8_0& block) {
    std::memcpy(&bytes[scale_at(s, head, b)], &block.d, 2);
    const auto row = static_cast<std::size_t>(s % 32);
    for (std::size_t i = 0; i < 32; ++i) {
      const std::size_t at = keys ? i / 4 * 128 + row * 4 + i % 4 : row / 4 * 128 + i * 4 + row % 4;
      bytes[codes_at(s, head, b) + at] = static_cast<std::uint8_t>(block.qs[i] + (keys ? 128 : 0));
    }
  }
  // Rows [first, ...) from values [T, G, d].
  void put_rows(const std::vector<float>& values, std::int64_t first) {
    const std::int64_t heads = desc.shape[1], blocks = desc.shape[2] / 32;
    for (std::size_t i = 0; i < values.size() / 32; ++i) {
      quant::BlockQ8_0 block;
      quant::encode(&values[i * 32], &block);
      const auto at = static_cast<std::int64_t>(i);
      put(first + at / blocks / heads, at / blocks % heads, at % blocks, block);
    }
  }
  TensorView view() { return {desc, bytes.data()}; }

 private:
  std::size_t codes_at(std::int64_t s, std::int64_t head, std::int64_t b) const {
    return tile_of(desc.shape, s, head) + static_cast<std::size_t>(b * 1024);
  }
  static std::size_t tile_of(const Shape& shape, std::int64_t s, std::int64_t head) {
    const std::int64_t tile_bytes = 32 * (shape[2] / 32 * 34);
    return static_cast<std::size_t>((head * ((shape[0] + 31) / 32) + s / 32) * tile_bytes);
  }
};

}  // namespace tessera::testing
