#include "tensor/executor.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera {
namespace {

// Each thread has a share of a step, tasks that follow each other, so that it reads one stream of memory;
// what is left of their shares it then takes from others. Of what is left of a share a thread takes a part at
// a time, at first long streams and in the end little, so that all threads end together; never less than a
// small part of the whole, beside which taking it costs nothing.
constexpr std::int64_t kPartTaken = 4, kSmallestPart = 16;
// Arithmetic of a piece at most: a few milliseconds at 100 GFLOP/s, so that a cancelled run ends soon.
constexpr double kPieceFlops = 2.5e8;

// Steps below both run on one thread, the last to end the step before them: a few microseconds each, less
// than it takes to meet at a barrier and to fetch what the other threads wrote.
constexpr double kSmallBytes = 1 << 17, kSmallFlops = 1 << 18;

bool is_small(const Step& step) { return step.cost.bytes <= kSmallBytes && step.cost.flops <= kSmallFlops; }

// Half of a second-level cache of 1 MiB.
constexpr std::int64_t kReadAheadBytes = 1 << 19, kCacheLine = 64;

// What runs between two barriers: a step that all threads share (none in the first stage of a plan that
// starts small), then small ones.
struct Stage {
  std::size_t begin, small, end;  // the shared step if begin < small, and steps [small, end)
};

std::vector<Stage> stages_of(std::span<const Step> steps) {
  std::vector<Stage> stages;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (i == 0 || !is_small(steps[i])) stages.push_back({i, is_small(steps[i]) ? i : i + 1, i});
    stages.back().end = i + 1;
  }
  return stages;
}

// Tasks of a share that a thread takes at once.
class Pieces {
 public:
  Pieces(const Step& step, std::int64_t share)
      : smallest_(std::max<std::int64_t>(1, share / kSmallestPart)),
        largest_(kPieceFlops / std::max(1.0, step.cost.flops / static_cast<double>(step.plan.tasks))) {}
  // The next one where `rest` tasks are left.
  std::int64_t next(std::int64_t rest) const {
    const double most = std::min(largest_, static_cast<double>(std::max(smallest_, rest / kPartTaken)));
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(most), 1, rest);
  }

 private:
  std::int64_t smallest_;
  double largest_;
};

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

struct Executor::Work {
  struct SlotUse {
    TensorView* view;
    const Place* place;
  };
  std::vector<TensorView> inputs;  // of all steps, one after the other
  std::vector<KernelArgs> args;    // one a step
  std::vector<SlotUse> slot_uses;  // views that a run has to fill in
  std::vector<TensorView> outputs;
  std::vector<Stage> stages;
  // Tasks taken of each thread's share, [thread][stage]; and threads that have found no more, [stage], one
  // more than there are when the small steps, too, have ended.
  std::unique_ptr<std::atomic<std::int64_t>[]> taken;
  std::unique_ptr<std::atomic<int>[]> ended;

  std::byte* resolve(const Place& place, std::byte* arena, TensorView* view) {
    if (place.kind == Place::Kind::kSlot) slot_uses.push_back({view, &place});
    if (place.kind == Place::Kind::kConstant) return place.data;
    return place.kind == Place::Kind::kArena ? arena + place.offset : nullptr;
  }
};

Executor::Executor(int threads) : threads_(threads), work_(std::make_unique<Work>()) {
  require_threads(threads);
}

Executor::~Executor() = default;

void Executor::prepare(std::shared_ptr<const Plan> plan) {
  if (plan == plan_) return;
  const std::size_t bytes = plan->bytes(threads_);
  if (bytes > arena_.size()) {
    // Both arenas at once might not fit; should the new one not fit either, nothing may point into the old.
    plan_.reset();
    work_ = std::make_unique<Work>();
    arena_ = Buffer();
    arena_ = Buffer::allocate(bytes);
  }
  auto work = std::make_unique<Work>();
  std::size_t input_count = 0;
  for (const Step& step : plan->steps()) input_count += step.inputs.size();
  work->inputs.reserve(input_count);
  work->args.reserve(plan->steps().size());
  work->outputs.reserve(plan->outputs().size());
  work->stages = stages_of(plan->steps());
  work->taken =
      std::make_unique<std::atomic<std::int64_t>[]>(work->stages.size() * static_cast<std::size_t>(threads_));
  work->ended = std::make_unique<std::atomic<int>[]>(work->stages.size());
  auto place = [&](const PlacedTensor& tensor, TensorView& view) {
    view = TensorView(tensor.desc, work->resolve(tensor.place, arena_.data(), &view));
  };
  for (const Step& step : plan->steps()) {
    KernelArgs& args = work->args.emplace_back();
    args.inputs = work->inputs.data() + work->inputs.size();
    args.params = step.params.data();
    args.chosen = step.plan.chosen;
    args.bytes_ahead = step.plan.bytes_ahead;
    for (const PlacedTensor& input : step.inputs) place(input, work->inputs.emplace_back());
    place(step.output, args.output);
  }
  for (const PlacedTensor& output : plan->outputs()) place(output, work->outputs.emplace_back());
  work_ = std::move(work);
  plan_ = std::move(plan);
}

// One thread's part in a run.
class Executor::Worker {
 public:
  // One workspace a thread follows the other.
  Worker(Work& work, const Plan& plan, const RunOptions& options, std::byte* workspaces)
      : work_(work),
        steps_(plan.steps()),
        options_(options),
        thread_(omp_get_thread_num()),
        team_(omp_get_num_threads()),
        workspace_(workspaces + static_cast<std::size_t>(thread_) * plan.workspace_bytes_per_thread()) {}

  void run(std::size_t index) {
    const Stage& stage = work_.stages[index];
    if (stage.begin < stage.small) {
      help(index);
      if (work_.ended[index].fetch_add(1, std::memory_order_acq_rel) + 1 < team_) return read_ahead(index);
      tell_done(stage.begin);
    } else if (thread_ != 0) {
      return;
    }
    for (std::size_t step = stage.small; step < stage.end; ++step) {
      work_on(step, [&](const KernelArgs& args) {
        const OpPlan& plan = steps_[step].plan;
        if (plan.tasks > 0 && !cancelled()) plan.run(args, 0, plan.tasks);
      });
      tell_done(step);
    }
    work_.ended[index].fetch_add(1, std::memory_order_relaxed);
  }

 private:
  bool cancelled() const { return options_.cancel && options_.cancel->load(std::memory_order_relaxed); }

  // The first of a thread's share of a step's tasks; it ends where the next thread's begins.
  std::int64_t share_begin(std::int64_t tasks, int owner) const { return tasks * owner / team_; }

  // Pieces of the stage's shared step: of this thread's share, then of the next ones'.
  void help(std::size_t index) {
    const std::size_t step = work_.stages[index].begin;
    const std::int64_t tasks = steps_[step].plan.tasks;
    work_on(step, [&](const KernelArgs& args) {
      for (int i = 0; i < team_; ++i) {
        const int owner = (thread_ + i) % team_;
        const std::int64_t first = share_begin(tasks, owner), end = share_begin(tasks, owner + 1);
        const Pieces pieces(steps_[step], end - first);
        auto& taken = work_.taken[static_cast<std::size_t>(owner) * work_.stages.size() + index];
        std::int64_t done = taken.load(std::memory_order_relaxed);
        while (first + done < end && !cancelled()) {
          const std::int64_t piece = pieces.next(end - first - done);
          if (taken.compare_exchange_weak(done, done + piece, std::memory_order_relaxed)) {
            steps_[step].plan.run(args, first + done, first + done + piece);
            done = taken.load(std::memory_order_relaxed);
          }
        }
      }
    });
  }

  // Until the last thread has ended the stage: what this one reads first in the next, so that memory is not
  // idle. By loads, which the processor reads ahead of, as it does not of prefetches (bench/RESULTS.md).
  void read_ahead(std::size_t index) {
    if (index + 1 == work_.stages.size()) return;
    const std::size_t step = work_.stages[index + 1].begin;
    const OpPlan& plan = steps_[step].plan;
    if (!plan.stretch || plan.tasks == 0) return;
    const Stretch stretch = plan.stretch(work_.args[step], share_begin(plan.tasks, thread_));
    const Place& place = steps_[step].inputs[stretch.input].place;
    if (place.kind != Place::Kind::kConstant) return;  // another thread may be writing it
    const volatile std::byte* data = place.data + stretch.offset;
    const std::int64_t bytes = std::min(stretch.bytes, kReadAheadBytes);
    for (std::int64_t at = 0; at < bytes; at += kCacheLine) {
      if (work_.ended[index].load(std::memory_order_relaxed) > team_) return;
      static_cast<void>(data[at]);
    }
  }

  template <typename RunTasks>
  void work_on(std::size_t step, RunTasks run_tasks) {
    KernelArgs args = work_.args[step];
    args.workspace = workspace_;
    const std::int64_t begin_ns = options_.observer ? now_ns() : 0;
    run_tasks(args);
    if (options_.observer) {
      options_.observer->thread_worked(static_cast<int>(step), thread_, begin_ns, now_ns());
    }
  }

  void tell_done(std::size_t step) {
    if (!options_.observer || cancelled()) return;
    const KernelArgs& args = work_.args[step];
    options_.observer->step_done(static_cast<int>(step), {args.inputs, steps_[step].inputs.size()},
                                 args.output);
  }

  Work& work_;
  std::span<const Step> steps_;
  const RunOptions& options_;
  int thread_, team_;
  std::byte* workspace_;
};

RunStatus Executor::run(std::span<void* const> slots, const RunOptions& options) {
  TESSERA_CHECK(plan_ && slots.size() == static_cast<std::size_t>(plan_->slot_count()));
  Work& work = *work_;
  for (const Work::SlotUse& use : work.slot_uses) {
    use.view->data =
        static_cast<std::byte*>(slots[static_cast<std::size_t>(use.place->slot)]) + use.place->offset;
  }
  const std::size_t stages = work.stages.size();
  for (std::size_t i = 0; i < stages * static_cast<std::size_t>(threads_); ++i) {
    work.taken[i].store(0, std::memory_order_relaxed);
  }
  for (std::size_t i = 0; i < stages; ++i) work.ended[i].store(0, std::memory_order_relaxed);
  if (options.observer) options.observer->run_begins(*plan_, threads_);
  std::byte* workspaces = arena_.data() + plan_->arena_bytes();

#pragma omp parallel num_threads(threads_)
  {
    const FloatMode mode;
    // A BLAS called from a team of one must not open a team of its own: its rounding would follow the
    // number of processors. This setting ends with the region.
    omp_set_num_threads(1);
    Worker worker(work, *plan_, options, workspaces);
    for (std::size_t i = 0; i < stages; ++i) {
      worker.run(i);
#pragma omp barrier
    }
  }
  return options.cancel && options.cancel->load() ? RunStatus::kCancelled : RunStatus::kDone;
}

TensorView Executor::output(int i) const { return work_->outputs[static_cast<std::size_t>(i)]; }

}  // namespace tessera
