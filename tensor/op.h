// The whole contract of an operation. A node of a graph points to one constant OpDef; there is no enum of
// ops, no switch over them and no registration (ARCHITECTURE.md, "One op, one place").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/cpu.h"
#include "tensor/tensor_view.h"

namespace tessera {

// What a kernel sees. Inputs stand in the order in which the build function gave them.
struct KernelArgs {
  const TensorView* inputs = nullptr;
  TensorView output;
  const void* params = nullptr;    // the op's params struct
  const void* chosen = nullptr;    // OpPlan::chosen
  std::int64_t bytes_ahead = 0;    // OpPlan::bytes_ahead
  std::byte* workspace = nullptr;  // OpPlan::workspace_bytes for this thread alone, aligned to kAlignment

  template <typename Params>
  const Params& get() const {
    return *static_cast<const Params*>(params);
  }
};

// Computes tasks [begin, end) of the step. Called by several threads at once with disjoint ranges; what a
// task computes may not depend on how tasks are grouped or on the number of threads.
using KernelFn = void (*)(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept;

struct OpArgs {
  std::span<const TensorDesc> inputs;
  TensorDesc output;  // not set while infer runs
  const void* params = nullptr;

  template <typename Params>
  const Params& get() const {
    return *static_cast<const Params*>(params);
  }
};

// Bytes of an input, from its first.
struct Stretch {
  std::size_t input = 0;
  std::int64_t offset = 0, bytes = 0;
};
// What `task` and those after it read one after the other; task < OpPlan::tasks.
using StretchFn = Stretch (*)(const KernelArgs& args, std::int64_t task) noexcept;

struct OpPlan {
  KernelFn run = nullptr;
  StretchFn stretch = nullptr;   // for threads that read ahead while they wait; nullptr: they do not
  const char* kernel = "";       // the name under which the plan prints it
  const void* chosen = nullptr;  // a constant that `run` needs beside the params: what calls a second kernel
  std::int64_t bytes_ahead = 0;  // that `run` asks for of what it streams from memory (Cpu::bytes_ahead)
  std::int64_t tasks = 1;        // independent parts
  std::size_t workspace_bytes = 0;  // for each thread
  // Bit i set: the output may take over the memory of input i. The planner does so when nothing reads that
  // input later and both are dense and equally large.
  std::uint32_t in_place_inputs = 0;
};

// Memory traffic and arithmetic of one run, for benchmarks, traces and progress.
struct OpCost {
  double bytes = 0;
  double flops = 0;
};

struct OpDef {
  const char* name;
  // Shape and dtype of the output; throws Error{kUsage, "", name, reason} for operands that do not fit.
  TensorDesc (*infer)(const OpArgs&);
  OpPlan (*plan)(const OpArgs&, const Cpu&);
  OpCost (*cost)(const OpArgs&);
  // The input whose memory the op writes and returns (a KV cache); -1 for ops that only read their inputs.
  int writes_input = -1;
};

inline constexpr int kMaxInputs = 6;
inline constexpr std::size_t kMaxParamsBytes = 64;

}  // namespace tessera
