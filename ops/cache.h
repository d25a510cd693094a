// Which operands are caches: what append_rows and causal_attention check.
#pragma once

#include <cstdint>

#include "ops/ops.h"

namespace tessera::ops {

// TensorDesc::layout of a q8_0 cache. Other numbers than those of weights (ops/matmul/pack.h).
enum class CacheLayout : std::uint8_t { kKeyTiles = 16, kValueTiles = 17 };

// For messages.
inline constexpr const char* kCacheTypes = "f32, f16 or bf16 [C, G, d], or q8_0 as cache_desc lays it out";
bool is_cache(const TensorDesc& x, CachePart part);

}  // namespace tessera::ops
