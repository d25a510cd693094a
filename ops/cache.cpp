#include "ops/cache.h"

#include <algorithm>
#include <utility>

#include "ops/cache_tiles.h"
#include "ops/op_util.h"

namespace tessera::ops {
namespace {

bool is_cache_type(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kQ8_0;
}

}  // namespace

TensorDesc cache_desc(DType dtype, CachePart part, const Shape& shape) {
  if (!is_cache_type(dtype) || shape.rank() != 3 || shape[2] % info(dtype).block_elems != 0) {
    reject("cache_desc: got " + describe(TensorDesc{dtype, 0, shape, {}}) +
           ", expected f32, f16, bf16 or q8_0 [C, G, d], for q8_0 with d a multiple of 32");
  }
  const bool tiles = dtype == DType::kQ8_0;
  const std::int64_t rows =
      tiles ? (shape[0] + kCacheTileRows - 1) / kCacheTileRows * kCacheTileRows : shape[0];
  TensorDesc desc = TensorDesc::dense(dtype, {shape[1], rows, shape[2]});
  std::swap(desc.strides[0], desc.strides[1]);
  desc.shape = shape;
  if (tiles) {
    desc.layout = static_cast<std::uint8_t>(part == CachePart::kKeys ? CacheLayout::kKeyTiles
                                                                     : CacheLayout::kValueTiles);
  }
  return desc;
}

std::size_t cache_bytes(const TensorDesc& cache) {
  return static_cast<std::size_t>(
      std::max(cache.shape[0] * cache.strides[0], cache.shape[1] * cache.strides[1]));
}

bool is_cache(const TensorDesc& x, CachePart part) {
  if (!is_cache_type(x.dtype) || x.shape.rank() != 3) return false;
  if (x.dtype != DType::kQ8_0) return x.layout == 0;
  return x.shape[2] % kCacheBlock == 0 && x == cache_desc(x.dtype, part, x.shape);
}

}  // namespace tessera::ops
