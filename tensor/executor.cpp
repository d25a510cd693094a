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
  // Tasks taken of each thread's share, [thread][step]: what one thread counts lies apart from the others'.
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
    const int thread = omp_get_thread_num();
    const int team = omp_get_num_threads();
    std::byte* workspace =
        workspaces + static_cast<std::size_t>(thread) * plan_->workspace_bytes_per_thread();
    auto cancelled = [&] { return options.cancel && options.cancel->load(std::memory_order_relaxed); };
    auto taken = [&](std::size_t i, int owner) -> std::atomic<std::int64_t>& {
      return work.taken[static_cast<std::size_t>(owner) * steps.size() + i];
    };
    // A piece of step i: of this thread's share, then of the next ones'. `shares` counts those found empty.
    auto take_piece = [&](std::size_t i, std::int64_t grain, int& shares) {
      const std::int64_t tasks = steps[i].plan.tasks;
      for (; shares < team; ++shares) {
        const int owner = (thread + shares) % team;
        const std::int64_t first = tasks * owner / team, end = tasks * (owner + 1) / team;
        const std::int64_t begin = first + taken(i, owner).fetch_add(grain, std::memory_order_relaxed);
        if (begin < end) return Range{begin, std::min(begin + grain, end)};
      }
      return Range{};
    };
    // The pieces of step i that `take` gives, until there are none.
    auto work_on = [&](std::size_t i, auto take) {
      KernelArgs args = work.args[i];
      args.workspace = workspace;
      const std::int64_t grain = piece_tasks(steps[i], team);
      const std::int64_t begin_ns = options.observer ? now_ns() : 0;
      while (!cancelled()) {
        const Range piece = take(grain);
        if (piece.begin >= piece.end) break;
        steps[i].plan.run(args, piece.begin, piece.end);
      }
      if (options.observer) options.observer->thread_worked(static_cast<int>(i), thread, begin_ns, now_ns());
    };
    auto step_done = [&](std::size_t i) {
      const KernelArgs& args = work.args[i];
      options.observer->step_done(static_cast<int>(i), {args.inputs, steps[i].inputs.size()}, args.output);
    };
    for (std::size_t i = 0, end = 0; i < steps.size(); i = end) {
      end = work.ends[i];
      if (end == i + 1) {
        int shares = 0;
        work_on(i, [&](std::int64_t grain) { return take_piece(i, grain, shares); });
      } else if (taken(i, 0).fetch_add(1, std::memory_order_relaxed) == 0) {
        for (std::size_t small = i; small < end; ++small) {
          std::int64_t task = 0;
          const std::int64_t tasks = steps[small].plan.tasks;
          work_on(small, [&](std::int64_t grain) {
            const std::int64_t begin = std::exchange(task, task + grain);
            return Range{begin, std::min(begin + grain, tasks)};
          });
          if (options.observer) step_done(small);
        }
      }
#pragma omp barrier
      if (options.observer && end == i + 1) {
        if (thread == 0) step_done(i);
#pragma omp barrier
      }
    }
  }
  return options.cancel && options.cancel->load() ? RunStatus::kCancelled : RunStatus::kDone;
}

TensorView Executor::output(int i) const { return work_->outputs[static_cast<std::size_t>(i)]; }

}  // namespace tessera
