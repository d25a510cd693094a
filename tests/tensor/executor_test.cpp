#include "tensor/executor.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <mutex>
#include <random>
#include <set>

#include "tensor/error.h"
#include "tests/tensor/count_allocations.h"
#include "tests/tensor/small_ops.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tessera::testing {
namespace {

std::vector<float> random_values(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(engine);
  return values;
}

std::shared_ptr<const Plan> plan_of(const Graph& g) {
  return std::make_shared<const Plan>(Plan::make(g, Cpu()));
}

// Rows of 100 values: too many to be left to one thread, and few enough for that.
constexpr std::int64_t kRows = 337, kFewRows = 37;

// A few dozen steps over kRows rows, of one slot, the last ones over kFewRows of them.
std::shared_ptr<const Plan> long_plan(const std::vector<float>& weights) {
  Graph g;
  Tensor x = g.input(DType::kF32, {kRows, 100}, "x");
  for (int i = 0; i < 12; ++i) {
    if (i == 8) x = g.view(x, TensorDesc::dense(DType::kF32, {kFewRows, 100}), 0);
    const Tensor y = blend(g, x, 0.75f);
    x = sum(g, sum(g, y, dense(weights, g.shape(x))), blend(g, y, -0.5f));
  }
  g.output(x);
  return plan_of(g);
}

std::vector<float> run_once(Executor& executor, std::vector<float> x, const RunOptions& options = {}) {
  void* slots[] = {x.data()};
  EXPECT_EQ(executor.run(slots, options), RunStatus::kDone);
  const TensorView y = executor.output(0);
  return {y.as<float>(), y.as<float>() + y.shape.elements()};
}

class ExecutorTest : public ::testing::Test {
 protected:
  const std::vector<float> x_ = random_values(kRows * 100, 1), weights_ = random_values(kRows * 100, 2);
};

TEST_F(ExecutorTest, GivesTheSameBitsForAnyNumberOfThreads) {
  const auto plan = long_plan(weights_);
  Executor one(1);
  one.prepare(plan);
  const auto expected = run_once(one, x_);
  for (const int threads : {1, 2, 3, 5}) {
    Executor executor(threads);
    executor.prepare(plan);
    for (int repeat = 0; repeat < 5; ++repeat) ASSERT_EQ(run_once(executor, x_), expected) << threads;
  }
}

TEST_F(ExecutorTest, ComputesWhatTheGraphSays) {
  Graph g;
  const std::vector<float> a{1, 2, 3, 4}, b{10, 20, 30, 40};
  g.output(sum(g, blend(g, dense(a, {2, 2}), 2), dense(b, {2, 2})));
  Executor executor(2);
  executor.prepare(plan_of(g));
  EXPECT_EQ(executor.run({}), RunStatus::kDone);
  const float* y = executor.output(0).as<float>();
  EXPECT_EQ(std::vector<float>(y, y + 4), (std::vector<float>{13.5f, 25.5f, 39.5f, 51.5f}));
}

TEST_F(ExecutorTest, DoesNotAllocateWhileItRuns) {
  const auto plan = long_plan(weights_);
  const std::optional<int> preparing = allocations_during([&] { Executor(1).prepare(plan); });
  if (!preparing) GTEST_SKIP() << "ThreadSanitizer brings an operator new of its own";
  EXPECT_GT(*preparing, 0);  // the count works
  for (const int threads : {1, 3}) {
    Executor executor(threads);
    executor.prepare(plan);
    std::vector<float> x = x_;
    void* slots[] = {x.data()};
    executor.run(slots);
    EXPECT_EQ(allocations_during([&] { executor.run(slots); }), 0);
  }
}

TEST_F(ExecutorTest, ReadsAndWritesSlots) {
  std::vector<float> cache(8, 1.0f), value{1, 2, 3, 4};
  Graph g;
  const Tensor slot = g.input(DType::kF32, {2, 4}, "cache"), x = g.input(DType::kF32, {1, 4}, "x");
  const Tensor second = g.view(slot, TensorDesc::dense(DType::kF32, {1, 4}), 4 * sizeof(float));
  g.output(store(g, second, x));
  Executor executor(2);
  executor.prepare(plan_of(g));
  void* slots[] = {cache.data(), value.data()};
  executor.run(slots);
  EXPECT_EQ(cache, (std::vector<float>{1, 1, 1, 1, 1, 2, 3, 4}));
  EXPECT_EQ(executor.output(0).as<float>(), cache.data() + 4);
  // Other memory in the next run.
  std::vector<float> other(8, 7.0f);
  slots[0] = other.data();
  executor.run(slots);
  EXPECT_EQ(other, (std::vector<float>{7, 7, 7, 7, 1, 2, 3, 4}));
}

TEST_F(ExecutorTest, RefusesAWrongNumberOfSlotsOrNoPlan) {
  Executor executor(1);
  EXPECT_THROW(executor.run({}), Error);
  executor.prepare(long_plan(weights_));
  EXPECT_THROW(executor.run({}), Error);
}

TEST_F(ExecutorTest, StopsBeforeTheFirstTaskWhenCancelled) {
  std::atomic<int> calls{0};
  std::atomic<bool> stop{true};
  Graph g;
  g.output(probe(g, dense(x_, {37, 100}), {&calls, &stop, 100, -1}));
  Executor executor(2);
  executor.prepare(plan_of(g));
  EXPECT_EQ(executor.run({}, {.cancel = &stop}), RunStatus::kCancelled);
  EXPECT_EQ(calls, 0);
}

TEST_F(ExecutorTest, StopsInTheMiddleOfAStepWhenCancelled) {
  std::atomic<int> before{0}, during{0}, after{0};
  std::atomic<bool> stop{false};
  const std::vector<float> values(40'000);  // too many for a small step, which is one piece
  Graph g;
  Tensor x = probe(g, dense(values, {400, 100}), {&before, &stop, 1000, -1});
  x = probe(g, x, {&during, &stop, 1000, 0});
  g.output(probe(g, x, {&after, &stop, 1000, -1}));
  for (const int threads : {1, 2}) {
    before = during = after = 0;
    stop = false;
    Executor executor(threads);
    executor.prepare(plan_of(g));
    EXPECT_EQ(executor.run({}, {.cancel = &stop}), RunStatus::kCancelled);
    EXPECT_EQ(before, 1000);
    EXPECT_LT(during, 1000);  // a team of one takes pieces of 125 tasks
    EXPECT_EQ(after, 0);
  }
}

TEST_F(ExecutorTest, RunsAgainAfterACancelledRun) {
  const auto plan = long_plan(weights_);
  Executor executor(2), fresh(2);
  executor.prepare(plan);
  fresh.prepare(plan);
  std::atomic<bool> stop{true};
  std::vector<float> x = x_;
  void* slots[] = {x.data()};
  EXPECT_EQ(executor.run(slots, {.cancel = &stop}), RunStatus::kCancelled);
  EXPECT_EQ(run_once(executor, x_), run_once(fresh, x_));
}

class Recorder : public StepObserver {
 public:
  void run_begins(const Plan& plan, int threads) override {
    steps = plan.steps().size();
    team = threads;
  }
  void thread_worked(int step, int thread, std::int64_t begin_ns, std::int64_t end_ns) noexcept override {
    const std::lock_guard lock(mutex);
    ordered = ordered && begin_ns <= end_ns && begin_ns > 0;
    worked.insert({step, thread});
  }
  void step_done(int step, std::span<const TensorView> inputs, const TensorView& output) noexcept override {
    ordered = ordered && step == static_cast<int>(first_values.size());
    first_values.push_back(*output.as<float>());
    last_inputs.push_back(*inputs.back().as<float>());
    input_counts.push_back(inputs.size());
  }
  std::size_t steps = 0;
  int team = 0;
  bool ordered = true;
  std::set<std::pair<int, int>> worked;
  std::vector<float> first_values, last_inputs;  // of each step
  std::vector<std::size_t> input_counts;
  std::mutex mutex;
};

TEST_F(ExecutorTest, TellsTheObserverOfEveryStepAndThread) {
  Graph g;
  const std::vector<float> a(kRows * 100, 1), b(kRows * 100, 5);
  const Shape shape{kRows * 50, 2};
  Tensor x = blend(g, dense(a, shape), 1);  // 2
  x = sum(g, x, dense(a, shape));           // 3, in place
  g.output(sum(g, x, dense(b, shape)));     // 8, in place
  Executor executor(2);
  executor.prepare(plan_of(g));
  Recorder recorder;
  executor.run({}, {.observer = &recorder});
  EXPECT_EQ(recorder.steps, 3u);
  EXPECT_EQ(recorder.team, 2);
  EXPECT_TRUE(recorder.ordered);
  EXPECT_EQ(recorder.worked.size(), 6u);
  // Each output is seen before the next step writes over it.
  EXPECT_EQ(recorder.first_values, (std::vector<float>{2, 3, 8}));
  EXPECT_EQ(recorder.last_inputs, (std::vector<float>{1, 1, 5}));
  EXPECT_EQ(recorder.input_counts, (std::vector<std::size_t>{1, 2, 2}));
}

TEST_F(ExecutorTest, LeavesSmallStepsInARowToOneThread) {
  const auto plan = long_plan(weights_);
  Executor executor(2);
  executor.prepare(plan);
  Recorder recorder;
  run_once(executor, x_, {.observer = &recorder});
  EXPECT_EQ(recorder.steps, 12u * 4);
  EXPECT_EQ(recorder.worked.size(), 8u * 4 * 2 + 4u * 4);
  EXPECT_TRUE(recorder.ordered);
  std::set<int> threads;
  for (const auto& [step, thread] : recorder.worked) {
    if (step >= 8 * 4) threads.insert(thread);
  }
  EXPECT_EQ(threads.size(), 1u);
}

TEST_F(ExecutorTest, LeavesASmallStepToTheLastThreadOfTheOneBefore) {
  Graph g;
  Tensor x = blend(g, dense(x_, {kRows, 100}), 0.5f);
  for (int i = 0; i < 2; ++i) {
    const Tensor few = blend(g, g.view(x, TensorDesc::dense(DType::kF32, {kFewRows, 100}), 0), 0.5f);
    g.output(few);
    x = blend(g, x, 0.5f);
  }
  g.output(x);
  Executor executor(2);
  executor.prepare(plan_of(g));
  Recorder recorder;
  executor.run({}, {.observer = &recorder});
  EXPECT_EQ(recorder.steps, 5u);
  EXPECT_TRUE(recorder.ordered);
  EXPECT_EQ(recorder.worked.size(), 3u * 2 + 2u);
}

TEST_F(ExecutorTest, RunsNoKernelWithoutTasks) {
  std::atomic<int> calls{0};
  std::atomic<bool> stop{false};
  Graph g;
  Tensor x = blend(g, dense(x_, {kRows, 100}), 0.5f);
  x = probe(g, g.view(x, TensorDesc::dense(DType::kF32, {kFewRows, 100}), 0), {&calls, &stop, 0, -1});
  g.output(x);
  Executor executor(2);
  executor.prepare(plan_of(g));
  EXPECT_EQ(executor.run({}), RunStatus::kDone);
  EXPECT_FALSE(stop);
}

TEST_F(ExecutorTest, ReadsNothingAheadThatMayBeWritten) {
  std::atomic<int> calls{0}, none{0}, computed{0}, constant{0};
  std::atomic<bool> stop{false};
  constexpr std::int64_t kNowhere = std::int64_t{1} << 46;  // reading there would end the test
  const TensorView x = dense(x_, {kRows, 100});
  Graph g;
  const Tensor first = probe(g, x, {&calls, &stop, 8, -1});
  g.output(probe(g, first, {&calls, &stop, 0, -1, &none, kNowhere}));
  g.output(probe(g, first, {&calls, &stop, 8, -1, &computed, kNowhere}));
  g.output(probe(g, x, {&calls, &stop, 8, -1, &constant, kRows * 400 - 1}));
  for (const int threads : {1, 2, 3}) {
    none = computed = constant = 0;
    Executor executor(threads);
    executor.prepare(plan_of(g));
    EXPECT_EQ(executor.run({}), RunStatus::kDone);
    EXPECT_EQ(none, 0);
    EXPECT_EQ(computed, threads - 1);
    EXPECT_EQ(constant, threads - 1);
  }
}

TEST_F(ExecutorTest, TheObserverChangesNoBit) {
  const auto plan = long_plan(weights_);
  Executor executor(3);
  executor.prepare(plan);
  Recorder recorder;
  EXPECT_EQ(run_once(executor, x_, {.observer = &recorder}), run_once(executor, x_));
}

TEST_F(ExecutorTest, RefusesThreadCountsOutOfRange) {
  for (const int threads : {0, -1, 1025}) {
    try {
      const Executor executor(threads);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_EQ(error.what(),
                "threads: out of range (got " + std::to_string(threads) + ", expected 1 to 1024)");
    }
  }
}

TEST_F(ExecutorTest, TakesSmallerAndLargerPlansInTurn) {
  const auto large = long_plan(weights_);
  Graph g;
  const std::vector<float> a{1, 2};
  g.output(blend(g, dense(a, {1, 2}), 2));
  const auto small = plan_of(g);
  Executor executor(2);
  executor.prepare(small);
  executor.run({});
  EXPECT_EQ(executor.output(0).as<float>()[1], 5.5f);
  executor.prepare(large);
  const auto y = run_once(executor, x_);
  executor.prepare(small);
  executor.run({});
  EXPECT_EQ(executor.output(0).as<float>()[1], 5.5f);
  executor.prepare(large);
  EXPECT_EQ(run_once(executor, x_), y);
}

TEST_F(ExecutorTest, HoldsNoPlanAfterAFailedAllocation) {
  Executor executor(1);
  executor.prepare(long_plan(weights_));
  Graph g;
  g.output(blend(g, g.input(DType::kF32, {std::int64_t{1} << 50, 4}, "x"), 1));
  try {
    executor.prepare(plan_of(g));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResource);
  }
  std::vector<float> x = x_;
  void* slots[] = {x.data()};
  EXPECT_THROW(executor.run(slots), Error);
  executor.prepare(long_plan(weights_));
  run_once(executor, x_);
}

TEST_F(ExecutorTest, LeavesTheHostsThreadSettingAlone) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(7);
  for (const int threads : {1, 2}) {
    Executor executor(threads);
    executor.prepare(long_plan(weights_));
    run_once(executor, x_);
    EXPECT_EQ(omp_get_max_threads(), 7);
  }
  omp_set_num_threads(before);
}

#if defined(__x86_64__)
// reliability.md E22: a host program that flushes denormals, rounds up or traps.
TEST_F(ExecutorTest, TheHostsFloatSettingsChangeNothingAndComeBack) {
  auto x = x_;
  x[0] = 1e-40f;
  const auto plan = long_plan(weights_);
  const unsigned host = _mm_getcsr();
  for (const int threads : {1, 2}) {
    Executor executor(threads);
    executor.prepare(plan);
    const auto expected = run_once(executor, x);
    // Round up; round to zero with flush to zero; no flush at all; divisions by zero trap.
    for (const unsigned csr : {0x1F80u | 0x4000u, 0x1F80u | 0x6000u | 0x8040u, 0x1F80u, 0x1F80u & ~0x200u}) {
      void* slots[] = {x.data()};
      _mm_setcsr(csr);
      const RunStatus status = executor.run(slots);
      const unsigned after = _mm_getcsr();
      _mm_setcsr(host);
      EXPECT_EQ(status, RunStatus::kDone);
      EXPECT_EQ(after, csr);
      const float* y = executor.output(0).as<float>();
      EXPECT_EQ(std::vector<float>(y, y + expected.size()), expected) << std::hex << csr;
    }
  }
}
#endif

}  // namespace
}  // namespace tessera::testing
