// The only place, with the executor, that knows OpenMP.
#pragma once

#include <cstdint>
#include <functional>

#include "tensor/api.h"

namespace tessera {

// Processors that this process may run on.
TESSERA_API int available_threads();

// A team larger than this is taken for a mistake.
inline constexpr int kMaxThreads = 1024;
// Throws Error{kUsage} unless threads is from 1 to kMaxThreads.
void check_threads(int threads);
// As check_threads; and throws Error{kResource} when the system refuses to start so many. OpenMP would end
// the process, so whoever opens a team asks here first.
TESSERA_API void require_threads(int threads);

// Runs fn(begin, end) over [0, count) in pieces of at most `grain`, on up to `threads` threads. The first
// exception that fn throws is thrown again after all threads have ended. Throws what check_threads throws.
TESSERA_API void parallel_for(std::int64_t count, std::int64_t grain, int threads,
                              const std::function<void(std::int64_t, std::int64_t)>& fn);

// While it lives, this thread computes with rounding to nearest, no traps, and denormals taken as zero,
// whatever the host program had set; the destructor restores the host's settings.
class FloatMode {
 public:
  FloatMode();
  ~FloatMode();
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  unsigned saved_;
};

}  // namespace tessera
