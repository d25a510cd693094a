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
// what is left of their shares it then takes from others. A share is cut into so many pieces: enough to even
// out threads that share their core with strangers, few enough that taking one costs nothing beside the work.
constexpr std::int64_t kPiecesPerThread = 8;
// Arithmetic of a piece at most: a few milliseconds at 100 GFLOP/s, so that a cancelled run ends soon.
constexpr double kPieceFlops = 2.5e8;

// Steps below both run one after the other on one thread where several follow each other: a few microseconds
// each, less than it takes to meet at a barrier and to fetch what the other threads wrote.
constexpr double kSmallBytes = 1 << 17, kSmallFlops = 1 << 18;

bool is_small(const Step& step) { return step.cost.bytes <= kSmallBytes && step.cost.flops <= kSmallFlops; }

struct Range {
  std::int64_t begin = 0, end = 0;
};

// Tasks that a thread takes at once.
std::int64_t piece_tasks(const Step& step, int team) {
  const std::int64_t even = step.plan.tasks / (team * kPiecesPerThread);
  const double task_flops = step.cost.flops / static_cast<double>(std::max<std::int64_t>(1, step.plan.tasks));
  const double limit = kPieceFlops / std::max(1.0, task_flops);
  return std::max<std::int64_t>(1,
                                limit < static_cast<double>(even) ? static_cast<std::int64_t>(limit) : even);
}

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
  std::vector<std::size_t> ends;  // for each step: where the steps end that go with it, from it on
  // Tasks taken of each thread's share, [thread][step].
  std::unique_ptr<std::atomic<std::int64_t>[]> taken;

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
  work->taken = std::make_unique<std::atomic<std::int64_t>[]>(plan->steps().size() *
                                                              static_cast<std::size_t>(threads_));
  auto place = [&](const PlacedTensor& tensor, TensorView& view) {
    view = TensorView(tensor.desc, work->resolve(tensor.place, arena_.data(), &view));
  };
  for (const Step& step : plan->steps()) {
    KernelArgs& args = work->args.emplace_back();
    args.inputs = work->inputs.data() + work->inputs.size();
    args.params = step.params.data();
    args.chosen = step.plan.chosen;
    for (const PlacedTensor& input : step.inputs) place(input, work->inputs.emplace_back());
    place(step.output, args.output);
  }
  for (const PlacedTensor& output : plan->outputs()) place(output, work->outputs.emplace_back());
  const std::span<const Step> steps = plan->steps();
  work->ends.resize(steps.size());
  for (std::size_t i = steps.size(); i-- > 0;) {
    const bool together = i + 1 < steps.size() && is_small(steps[i]) && is_small(steps[i + 1]);
    work->ends[i] = together ? work->ends[i + 1] : i + 1;
  }
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

  int thread() const { return thread_; }

  // Pieces of the step: of this thread's share, then of the next ones'.
  void help(std::size_t step) {
    int empty = 0;  // shares found so
    work_on(step, [&](std::int64_t grain) {
      const std::int64_t tasks = steps_[step].plan.tasks;
      for (; empty < team_; ++empty) {
        const int owner = (thread_ + empty) % team_;
        const std::int64_t first = tasks * owner / team_, end = tasks * (owner + 1) / team_;
        const std::int64_t begin = first + taken(step, owner).fetch_add(grain, std::memory_order_relaxed);
        if (begin < end) return Range{begin, std::min(begin + grain, end)};
      }
      return Range{};
    });
  }

  // All of steps [first, end), if no other thread came before.
  void run_alone(std::size_t first, std::size_t end) {
    if (taken(first, 0).fetch_add(1, std::memory_order_relaxed) != 0) return;
    for (std::size_t step = first; step < end; ++step) {
      const std::int64_t tasks = steps_[step].plan.tasks;
      std::int64_t task = 0;
      work_on(step, [&](std::int64_t grain) {
        const std::int64_t begin = std::exchange(task, task + grain);
        return Range{begin, std::min(begin + grain, tasks)};
      });
      if (options_.observer && !cancelled()) tell_done(step);
    }
  }

  void tell_done(std::size_t step) {
    const KernelArgs& args = work_.args[step];
    options_.observer->step_done(static_cast<int>(step), {args.inputs, steps_[step].inputs.size()},
                                 args.output);
  }

 private:
  bool cancelled() const { return options_.cancel && options_.cancel->load(std::memory_order_relaxed); }
  std::atomic<std::int64_t>& taken(std::size_t step, int owner) {
    return work_.taken[static_cast<std::size_t>(owner) * steps_.size() + step];
  }
  // The pieces that `take` gives, until there are none.
  template <typename Take>
  void work_on(std::size_t step, Take take) {
    KernelArgs args = work_.args[step];
    args.workspace = workspace_;
    const std::int64_t grain = piece_tasks(steps_[step], team_);
    const std::int64_t begin_ns = options_.observer ? now_ns() : 0;
    while (!cancelled()) {
      const Range piece = take(grain);
      if (piece.begin >= piece.end) break;
      steps_[step].plan.run(args, piece.begin, piece.end);
    }
    if (options_.observer) {
      options_.observer->thread_worked(static_cast<int>(step), thread_, begin_ns, now_ns());
    }
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
  const std::span<const Step> steps = plan_->steps();
  for (std::size_t i = 0; i < steps.size() * static_cast<std::size_t>(threads_); ++i) {
    work.taken[i].store(0, std::memory_order_relaxed);
  }
  if (options.observer) options.observer->run_begins(*plan_, threads_);
  std::byte* workspaces = arena_.data() + plan_->arena_bytes();

#pragma omp parallel num_threads(threads_)
  {
    const FloatMode mode;
    // A BLAS called from a team of one must not open a team of its own: its rounding would follow the
    // number of processors. This setting ends with the region.
    omp_set_num_threads(1);
    Worker worker(work, *plan_, options, workspaces);
    for (std::size_t i = 0, end = 0; i < steps.size(); i = end) {
      end = work.ends[i];
      const bool together = end == i + 1;
      if (together) {
        worker.help(i);
      } else {
        worker.run_alone(i, end);
      }
#pragma omp barrier
      if (options.observer && together) {
        if (worker.thread() == 0) worker.tell_done(i);
#pragma omp barrier
      }
    }
  }
  return options.cancel && options.cancel->load() ? RunStatus::kCancelled : RunStatus::kDone;
}

TensorView Executor::output(int i) const { return work_->outputs[static_cast<std::size_t>(i)]; }

}  // namespace tessera
