#include "tensor/threads.h"

#include "tensor/error.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tessera {
namespace {

TEST(ParallelFor, TakesEveryIndexOnceInPiecesOfTheGrain) {
  for (const int threads : {1, 2, 5}) {
    for (const std::int64_t count : {0, 1, 7, 100}) {
      std::vector<std::atomic<int>> taken(100);
      std::atomic<bool> fits{true};
      parallel_for(count, 3, threads, [&](std::int64_t begin, std::int64_t end) {
        fits = fits && begin < end && end - begin <= 3 && end <= count;
        for (std::int64_t i = begin; i < end; ++i) ++taken[static_cast<std::size_t>(i)];
      });
      EXPECT_TRUE(fits);
      for (std::int64_t i = 0; i < 100; ++i) EXPECT_EQ(taken[static_cast<std::size_t>(i)], i < count) << i;
    }
  }
}

TEST(ParallelFor, ThrowsWhatAPieceThrew) {
  for (const int threads : {1, 3}) {
    std::atomic<int> pieces{0};
    try {
      parallel_for(1000000, 1, threads, [&](std::int64_t begin, std::int64_t) {
        ++pieces;
        if (begin == 10) throw std::runtime_error("ten");
      });
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "ten");
    }
    EXPECT_LT(pieces, 1000000);  // the others stop soon
  }
}

TEST(ParallelFor, ThrowsOneOfSeveral) {
  EXPECT_THROW(parallel_for(100, 1, 3, [](std::int64_t, std::int64_t) { throw std::runtime_error("each"); }),
               std::runtime_error);
}

TEST(RequireThreads, RefusesCountsOutOfRange) {
  for (const int threads : {0, -4, kMaxThreads + 1}) {
    try {
      require_threads(threads);
      ADD_FAILURE() << threads;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_STREQ(
          error.what(),
          ("threads: out of range (got " + std::to_string(threads) + ", expected 1 to 1024)").c_str());
    }
  }
  require_threads(3);
}

TEST(AvailableThreads, IsAtLeastOne) { EXPECT_GE(available_threads(), 1); }

#if defined(__x86_64__)
TEST(FloatMode, SetsRoundingAndDenormalsAndRestoresTheHosts) {
  const unsigned host = _mm_getcsr();
  _mm_setcsr(0x1F80 | 0x6000);  // towards zero
  {
    const FloatMode mode;
    EXPECT_EQ(_mm_getcsr() & 0xFFC0u, 0x1F80u | 0x8040u);
    volatile float tiny = 1e-30f;
    EXPECT_EQ(tiny * tiny, 0.0f);
  }
  EXPECT_EQ(_mm_getcsr() & 0xFFC0u, 0x1F80u | 0x6000u);
  _mm_setcsr(host);
}
#endif

}  // namespace
}  // namespace tessera
