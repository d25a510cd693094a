// Executor: owns the arena and the thread team, and runs plans.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/api.h"
#include "tensor/buffer.h"
#include "tensor/plan.h"

namespace tessera {

// Sees a run from inside. Calls come from the threads of the team.
class TESSERA_API StepObserver {
 public:
  virtual ~StepObserver() = default;
  // Before the first step, from the caller's thread; may allocate.
  virtual void run_begins(const Plan&, int /*threads*/) {}
  // Thread `thread` spent [begin_ns, end_ns) of the monotonic clock on its share of the step. For a small
  // step (at most 128 KiB and 2^18 FLOPs), which one thread does alone, it is called once.
  virtual void thread_worked(int /*step*/, int /*thread*/, std::int64_t /*begin_ns*/,
                             std::int64_t /*end_ns*/) noexcept {}
  // Comes from the last thread to end the step: none works on it any more, nor yet on a later one; these may
  // overwrite all that is seen here. An input that shares its memory with `output` was overwritten by this
  // one: ops say which they allow (OpPlan).
  virtual void step_done(int /*step*/, std::span<const TensorView> /*inputs*/,
                         const TensorView& /*output*/) noexcept {}
};

struct RunOptions {
  // Looked at between pieces of a step, a few milliseconds each. Once raised it must stay so until run
  // returns.
  const std::atomic<bool>* cancel = nullptr;
  StepObserver* observer = nullptr;
};

enum class RunStatus { kDone, kCancelled };

class TESSERA_API Executor {
 public:
  // Throws what require_threads (tensor/threads.h) throws.
  explicit Executor(int threads);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  int threads() const { return threads_; }
  // Allocates what the plan needs and keeps the plan. Throws Error{kResource}: then no plan is prepared.
  // Cheap when the plan is the one already prepared.
  void prepare(std::shared_ptr<const Plan> plan);
  // Runs the prepared plan in one parallel region. slots[i] is the memory of graph input i, dense, aligned to
  // its element size. Neither allocates nor fails; after kCancelled the outputs hold nothing of use.
  // Results are the same bits for any number of threads.
  RunStatus run(std::span<void* const> slots, const RunOptions& options = {});
  // Output i of the prepared plan: valid after run, until the next prepare or run.
  TensorView output(int i) const;

 private:
  struct Work;  // what the team shares
  class Worker;
  int threads_;
  std::shared_ptr<const Plan> plan_;
  Buffer arena_;
  std::unique_ptr<Work> work_;
};

}  // namespace tessera
