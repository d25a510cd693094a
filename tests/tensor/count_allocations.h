// Counts what operator new is asked for, in every thread of this executable.
#pragma once

#include <functional>

namespace tessera::testing {

int allocations_during(const std::function<void()>& work);

}  // namespace tessera::testing
