// What the program looks at while the model computes: a progress line, and a trace.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/executor.h"
#include "tensor/trace.h"

namespace tessera::programs {

// The progress line stands on standard error: "encoding a.png  42 %, 3.1 s left". Its share is that of the
// plan's FLOPs that are done.
class Watcher : public StepObserver {
 public:
  // `trace` may be null.
  Watcher(TraceWriter* trace, bool show_progress) : trace_(trace), show_progress_(show_progress) {}

  // A piece of work; its end removes the line.
  class [[nodiscard]] Phase {
   public:
    explicit Phase(Watcher& watcher) : watcher_(watcher) {}
    ~Phase() { watcher_.end(); }
    Phase(const Phase&) = delete;
    Phase& operator=(const Phase&) = delete;

   private:
    Watcher& watcher_;
  };

  // A piece of work that takes `runs` runs of about the same cost.
  Phase begin(const std::string& phase, const std::string& label, std::int64_t runs);
  // The same without a progress line.
  Phase begin_quietly(const std::string& phase);
  // For the runs of this piece of work.
  RunOptions run_options();

  void run_begins(const Plan& plan, int threads) override;
  void thread_worked(int step, int thread, std::int64_t begin_ns, std::int64_t end_ns) noexcept override;
  void step_done(int step, std::span<const TensorView> inputs, const TensorView& output) noexcept override;

 private:
  void end() noexcept;
  void show(double fraction, std::int64_t now_ns) noexcept;

  TraceWriter* trace_;
  bool show_progress_;
  bool active_ = false, shown_ = false;
  std::string label_;
  std::int64_t runs_ = 1, runs_begun_ = 0;
  std::int64_t begin_ns_ = 0, last_shown_ns_ = 0;
  const Plan* plan_ = nullptr;
  double flops_done_ = 0;
};

// Seconds of a clock that never goes backwards.
double monotonic_seconds();

}  // namespace tessera::programs
