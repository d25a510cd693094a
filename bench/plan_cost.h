// What one run of a plan moves and computes.
#pragma once

#include <cstdint>

#include "tensor/plan.h"

namespace tessera::bench {

// Plan::cost, with causal attention counted for the keys that its rows see when `past` rows stand in the
// cache already: row t of T sees past + t + 1, and past + T rows of the cache are read. (The plan itself
// counts the whole cache for every row: `past` is a run-time value.)
OpCost cost_of_run(const Plan& plan, std::int64_t past);

}  // namespace tessera::bench
