// Plan: a graph made ready for one CPU: kernels chosen, memory laid out. Immutable, shareable, printable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tensor/api.h"
#include "tensor/graph.h"

namespace tessera {

// Where an operand lies: in the arena, in a slot bound at run time, or at a fixed address.
struct Place {
  enum class Kind : std::uint8_t { kArena, kSlot, kConstant } kind = Kind::kArena;
  std::int32_t slot = -1;
  std::int64_t offset = 0;    // bytes into the arena or the slot's memory
  std::byte* data = nullptr;  // kConstant
};

struct PlacedTensor {
  TensorDesc desc;
  Place place;
};

struct Step {
  const OpDef* op = nullptr;
  OpPlan plan;
  OpCost cost;
  std::string name;  // the node's scope and name
  std::vector<PlacedTensor> inputs;
  PlacedTensor output;
  alignas(8) std::array<std::byte, kMaxParamsBytes> params{};
};

class TESSERA_API Plan {
 public:
  // Throws Error when an op refuses (OpDef::plan).
  static Plan make(const Graph& graph, const Cpu& cpu);

  std::span<const Step> steps() const { return steps_; }
  std::span<const PlacedTensor> outputs() const { return outputs_; }
  int slot_count() const { return slot_count_; }
  std::size_t arena_bytes() const { return arena_bytes_; }
  std::size_t workspace_bytes_per_thread() const { return workspace_bytes_; }
  // What an executor with that many threads will allocate for this plan.
  std::size_t bytes(int threads) const;
  OpCost cost() const { return cost_; }
  // One line a step: number, op, name, kernel, shape, offset, bytes, FLOPs; then the totals.
  std::string to_string() const;

 private:
  std::vector<Step> steps_;
  std::vector<PlacedTensor> outputs_;
  int slot_count_ = 0;
  std::size_t arena_bytes_ = 0, workspace_bytes_ = 0;
  OpCost cost_;
};

// The plans of the graphs seen last, by structural hash. Not safe for use from several threads at once.
class TESSERA_API PlanCache {
 public:
  explicit PlanCache(Cpu cpu, std::size_t capacity = 16) : cpu_(std::move(cpu)), capacity_(capacity) {}
  std::shared_ptr<const Plan> get(const Graph& graph);
  const Cpu& cpu() const { return cpu_; }

 private:
  struct Entry {
    std::shared_ptr<const Plan> plan;
    std::uint64_t last_use = 0;
  };
  Cpu cpu_;
  std::size_t capacity_;
  std::uint64_t uses_ = 0;
  std::unordered_map<std::uint64_t, Entry> entries_;
};

}  // namespace tessera
