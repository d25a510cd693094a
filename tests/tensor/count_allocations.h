// Counts what operator new is asked for, in every thread of this executable. Nothing under ThreadSanitizer.
#pragma once

#include <functional>
#include <optional>

namespace tessera::testing {

std::optional<int> allocations_during(const std::function<void()>& work);

}  // namespace tessera::testing
