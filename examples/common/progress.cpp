#include "examples/common/progress.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "examples/common/program.h"
#include "examples/common/signals.h"

namespace tessera::programs {
namespace {

constexpr std::int64_t kFirstShownNs = 300'000'000;  // what is over sooner needs no progress line
constexpr std::int64_t kIntervalNs = 100'000'000;

std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

double monotonic_seconds() { return 1e-9 * static_cast<double>(monotonic_ns()); }

Watcher::Phase Watcher::begin(const std::string& phase, const std::string& label, std::int64_t runs) {
  active_ = show_progress_;
  label_ = label;
  runs_ = std::max<std::int64_t>(runs, 1);
  runs_begun_ = 0;
  begin_ns_ = last_shown_ns_ = monotonic_ns();
  return begin_quietly(phase);
}

Watcher::Phase Watcher::begin_quietly(const std::string& phase) {
  if (trace_ != nullptr) trace_->begin_phase(phase);
  return Phase(*this);
}

void Watcher::end() noexcept {
  if (shown_) note("\r\033[K");
  active_ = shown_ = false;
}

RunOptions Watcher::run_options() { return {&cancel_flag(), trace_ != nullptr || active_ ? this : nullptr}; }

void Watcher::run_begins(const Plan& plan, int threads) {
  if (trace_ != nullptr) trace_->run_begins(plan, threads);
  plan_ = &plan;
  flops_done_ = 0;
  ++runs_begun_;
}

void Watcher::thread_worked(int step, int thread, std::int64_t begin_ns, std::int64_t end_ns) noexcept {
  if (trace_ != nullptr) trace_->thread_worked(step, thread, begin_ns, end_ns);
}

void Watcher::step_done(int step, std::span<const TensorView>, const TensorView&) noexcept {
  if (!active_) return;
  flops_done_ += plan_->steps()[static_cast<std::size_t>(step)].cost.flops;
  const std::int64_t now = monotonic_ns();
  if (now - begin_ns_ < kFirstShownNs || now - last_shown_ns_ < kIntervalNs) return;
  const double of_this_run = plan_->cost().flops > 0 ? flops_done_ / plan_->cost().flops : 1;
  show((static_cast<double>(runs_begun_ - 1) + of_this_run) / static_cast<double>(runs_), now);
}

void Watcher::show(double fraction, std::int64_t now_ns) noexcept {
  last_shown_ns_ = now_ns;
  shown_ = true;
  fraction = std::clamp(fraction, 0.001, 1.0);
  const double elapsed = 1e-9 * static_cast<double>(now_ns - begin_ns_);
  char line[160];
  const int length = std::snprintf(line, sizeof line, "\r%.100s %3.0f %%, %.1f s left\033[K", label_.c_str(),
                                   100 * fraction, elapsed / fraction * (1 - fraction));
  note({line, static_cast<std::size_t>(std::clamp(length, 0, static_cast<int>(sizeof line) - 1))});
}

}  // namespace tessera::programs
