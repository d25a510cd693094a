// memory_plan: where in one arena each intermediate value lies. A pure function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/api.h"

namespace tessera {

// A value of `bytes` that is written in step `first` and last read in step `last` (inclusive).
struct Lifetime {
  std::int32_t first = 0;
  std::int32_t last = 0;
  std::size_t bytes = 0;
};

struct MemoryPlan {
  std::vector<std::size_t> offsets;  // one for each lifetime, multiples of kAlignment
  std::size_t total_bytes = 0;
};

// Values whose lifetimes share a step get disjoint ranges. Largest first, each into the lowest gap that
// fits (greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
// 2020). Throws Error{kResource} when the total exceeds 64 bits.
TESSERA_API MemoryPlan memory_plan(std::span<const Lifetime> lifetimes);

}  // namespace tessera
