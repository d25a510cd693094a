#include "tensor/threads.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <latch>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tensor/error.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tessera {

int available_threads() { return omp_get_num_procs(); }

void check_threads(int threads) {
  if (threads >= 1 && threads <= kMaxThreads) return;
  throw Error(ErrorCode::kUsage, "", "threads",
              "out of range (got " + std::to_string(threads) + ", expected 1 to " +
                  std::to_string(kMaxThreads) + ")");
}

void require_threads(int threads) {
  check_threads(threads);
  std::latch all_started{1};
  std::vector<std::jthread> team;
  try {
    team.reserve(static_cast<std::size_t>(threads));
    while (static_cast<int>(team.size()) < threads - 1) team.emplace_back([&] { all_started.wait(); });
    all_started.count_down();
  } catch (const std::system_error&) {
    all_started.count_down();
    throw Error(ErrorCode::kResource, "", "threads",
                "the system starts no more (got " + std::to_string(team.size() + 1) + ", expected " +
                    std::to_string(threads) + ")");
  }
}

void parallel_for(std::int64_t count, std::int64_t grain, int threads,
                  const std::function<void(std::int64_t, std::int64_t)>& fn) {
  check_threads(threads);
  std::atomic<std::int64_t> next{0};
  std::atomic_flag failed;
  std::exception_ptr error;
#pragma omp parallel num_threads(threads)
  {
    const FloatMode mode;
    for (;;) {
      const std::int64_t begin = next.fetch_add(grain);
      if (begin >= count) break;
      try {
        fn(begin, std::min(begin + grain, count));
      } catch (...) {
        if (!failed.test_and_set()) error = std::current_exception();
        next = count;
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

#if defined(__x86_64__)

FloatMode::FloatMode() : saved_(_mm_getcsr()) {
  // 0x1F80: all exceptions masked, round to nearest; 0x8040: flush to zero, denormals are zero.
  _mm_setcsr(0x1F80 | 0x8040);
}
FloatMode::~FloatMode() { _mm_setcsr(saved_); }

#else

FloatMode::FloatMode() : saved_(0) {}
FloatMode::~FloatMode() = default;

#endif

}  // namespace tessera
