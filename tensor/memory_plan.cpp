#include "tensor/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "tensor/buffer.h"
#include "tensor/error.h"

namespace tessera {

MemoryPlan memory_plan(std::span<const Lifetime> lifetimes) {
  MemoryPlan plan;
  plan.offsets.resize(lifetimes.size());
  auto padded = [&](std::size_t i) {
    return (lifetimes[i].bytes + kAlignment - 1) / kAlignment * kAlignment;
  };

  std::vector<std::size_t> by_size(lifetimes.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t a, std::size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });

  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t i : by_size) {
    const Lifetime& value = lifetimes[i];
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      const Lifetime& neighbour = lifetimes[other];
      if (neighbour.last < value.first || value.last < neighbour.first) continue;
      if (plan.offsets[other] >= offset + padded(i)) break;
      offset = std::max(offset, plan.offsets[other] + padded(other));
    }
    std::uint64_t end = 0;
    if (!checked_add(offset, padded(i), &end)) {
      throw Error(ErrorCode::kResource, "", "memory", "intermediate values take more than 2^64 bytes");
    }
    plan.offsets[i] = offset;
    plan.total_bytes = std::max<std::size_t>(plan.total_bytes, end);
    const auto place =
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [&](std::size_t at, std::size_t other) { return at < plan.offsets[other]; });
    placed.insert(place, i);
  }
  return plan;
}

}  // namespace tessera
