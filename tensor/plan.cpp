#include "tensor/plan.h"

#include <algorithm>
#include <charconv>

#include "tensor/buffer.h"
#include "tensor/error.h"
#include "tensor/memory_plan.h"

namespace tessera {
namespace {

// Follows nodes to the memory they end up in: `memory[n]` is the node that owns the bytes of root n, which
// differs from n where an op took over its input's memory.
class Layout {
 public:
  explicit Layout(const Graph& graph)
      : nodes_(graph.nodes()), memory_(nodes_.size()), last_use_(nodes_.size(), -1) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) memory_[i] = static_cast<std::int32_t>(i);
    std::int32_t step = 0;
    for (const Node& node : nodes_) {
      if (node.kind != NodeKind::kOp) continue;
      for (int i = 0; i < node.input_count; ++i) use(input(node, i).root, step);
      use(node.root, step);
      ++step;
    }
    for (const Tensor& x : graph.outputs()) use(graph.node(x).root, step);
  }

  // The input whose memory the node's output takes over in this step, or -1.
  int in_place_input(const Node& node, const OpPlan& plan, std::int32_t step) const {
    for (int i = 0; i < node.input_count; ++i) {
      if (!(plan.in_place_inputs >> i & 1)) continue;
      const Node& source = input(node, i);
      const Node& root = nodes_[static_cast<std::size_t>(source.root)];
      bool shared = false;
      for (int j = 0; j < node.input_count; ++j) shared |= j != i && input(node, j).root == source.root;
      if (root.kind == NodeKind::kOp && !shared && last_use_[static_cast<std::size_t>(source.root)] == step &&
          source.offset == 0 && source.desc.is_dense() && node.desc.is_dense() &&
          bytes(source.desc) == bytes(node.desc) && bytes(root.desc) == bytes(node.desc)) {
        return i;
      }
    }
    return -1;
  }

  void take_over(std::int32_t root, std::int32_t by) {
    memory_[static_cast<std::size_t>(by)] = memory_of(root);
  }
  std::int32_t memory_of(std::int32_t root) const { return memory_[static_cast<std::size_t>(root)]; }
  std::int32_t last_use(std::int32_t root) const { return last_use_[static_cast<std::size_t>(root)]; }
  const Node& input(const Node& node, int i) const {
    return nodes_[static_cast<std::size_t>(node.inputs[static_cast<std::size_t>(i)])];
  }
  static std::int64_t bytes(const TensorDesc& desc) { return dense_bytes(desc.dtype, desc.shape); }

 private:
  void use(std::int32_t root, std::int32_t step) { last_use_[static_cast<std::size_t>(root)] = step; }

  std::span<const Node> nodes_;
  std::vector<std::int32_t> memory_, last_use_;
};

// Four digits and a unit, with a point whatever the locale.
std::string human(double value) {
  char text[32];
  const char* unit = "";
  for (const char* next : {"k", "M", "G", "T"}) {
    if (value < 10000) break;
    value /= 1000;
    unit = next;
  }
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::general, 4).ptr;
  return std::string(text, end) + unit;
}

// The columns of Plan::to_string; a text that is too wide pushes the rest to the right.
std::string row(const std::array<std::string, 8>& cells) {
  constexpr int kWidths[] = {5, -16, -24, -20, 12, 9, 9, 0};  // negative: to the left
  std::string out;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto width = static_cast<std::size_t>(std::abs(kWidths[i]));
    const std::string pad(width - std::min(width, cells[i].size()), ' ');
    out += kWidths[i] < 0 ? cells[i] + pad : pad + cells[i];
    out += i == 0 || i == 6 ? "  " : i < 7 ? " " : "\n";
  }
  return out;
}

// Gives every value that an op makes its place: `lifetime_of[n]` is the lifetime of the memory of node n.
struct Lifetimes {
  std::vector<Lifetime> values;
  std::vector<std::int32_t> of;

  explicit Lifetimes(std::size_t nodes) : of(nodes, -1) {}

  void extend(const Node& node, std::int32_t step, bool takes_over, const Layout& layout) {
    std::int32_t& index = of[static_cast<std::size_t>(layout.memory_of(node.root))];
    if (!takes_over) {
      index = static_cast<std::int32_t>(values.size());
      values.push_back({step, step, static_cast<std::size_t>(Layout::bytes(node.desc))});
    }
    std::int32_t& last = values[static_cast<std::size_t>(index)].last;
    last = std::max({last, step, layout.last_use(node.root)});
  }
};

PlacedTensor placed(const Node& node, std::span<const Node> nodes, const Layout& layout,
                    const Lifetimes& lifetimes, const MemoryPlan& memory) {
  const Node& root = nodes[static_cast<std::size_t>(node.root)];
  Place place;
  place.offset = node.offset;
  if (root.kind == NodeKind::kConstant) {
    place.kind = Place::Kind::kConstant;
    place.data = root.data + node.offset;
  } else if (root.kind == NodeKind::kInput) {
    place.kind = Place::Kind::kSlot;
    place.slot = root.slot;
  } else {
    const auto owner = static_cast<std::size_t>(layout.memory_of(node.root));
    place.offset += static_cast<std::int64_t>(memory.offsets[static_cast<std::size_t>(lifetimes.of[owner])]);
  }
  return {node.desc, place};
}

Step make_step(const Node& node, const Layout& layout, const Cpu& cpu) {
  Step step;
  step.op = node.op;
  step.name = node.name;
  step.params = node.params;
  std::array<TensorDesc, kMaxInputs> descs;
  for (int i = 0; i < node.input_count; ++i) descs[static_cast<std::size_t>(i)] = layout.input(node, i).desc;
  const OpArgs args{{descs.data(), node.input_count}, node.desc, step.params.data()};
  step.plan = node.op->plan(args, cpu);
  TESSERA_CHECK(step.plan.run != nullptr && step.plan.tasks >= 0);
  step.cost = node.op->cost(args);
  return step;
}

}  // namespace

Plan Plan::make(const Graph& graph, const Cpu& cpu) {
  Plan plan;
  plan.slot_count_ = graph.slot_count();
  Layout layout(graph);
  const std::span<const Node> nodes = graph.nodes();
  Lifetimes lifetimes(nodes.size());

  for (std::size_t id = 0; id < nodes.size(); ++id) {
    const Node& node = nodes[id];
    if (node.kind != NodeKind::kOp) continue;
    const auto index = static_cast<std::int32_t>(plan.steps_.size());
    const Step& step = plan.steps_.emplace_back(make_step(node, layout, cpu));
    plan.cost_.bytes += step.cost.bytes;
    plan.cost_.flops += step.cost.flops;
    plan.workspace_bytes_ = std::max(plan.workspace_bytes_, step.plan.workspace_bytes);
    if (node.root != static_cast<std::int32_t>(id)) continue;  // writes into an input's memory
    const int source = layout.in_place_input(node, step.plan, index);
    if (source >= 0) layout.take_over(layout.input(node, source).root, node.root);
    lifetimes.extend(node, index, source >= 0, layout);
  }

  const MemoryPlan memory = memory_plan(lifetimes.values);
  plan.arena_bytes_ = memory.total_bytes;
  plan.workspace_bytes_ = (plan.workspace_bytes_ + kAlignment - 1) / kAlignment * kAlignment;
  std::size_t step = 0;
  for (const Node& node : nodes) {
    if (node.kind != NodeKind::kOp) continue;
    Step& target = plan.steps_[step++];
    for (int i = 0; i < node.input_count; ++i) {
      target.inputs.push_back(placed(layout.input(node, i), nodes, layout, lifetimes, memory));
    }
    target.output = placed(node, nodes, layout, lifetimes, memory);
  }
  for (const Tensor& x : graph.outputs()) {
    plan.outputs_.push_back(placed(graph.node(x), nodes, layout, lifetimes, memory));
  }
  return plan;
}

std::size_t Plan::bytes(int threads) const {
  return arena_bytes_ + workspace_bytes_ * static_cast<std::size_t>(threads);
}

std::string Plan::to_string() const {
  std::string out = row({"step", "op", "kernel", "shape", "offset", "bytes", "FLOPs", "name"});
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Step& s = steps_[i];
    std::string at = std::to_string(s.output.place.offset);
    if (s.output.place.kind == Place::Kind::kSlot) at = "slot " + std::to_string(s.output.place.slot);
    if (s.output.place.kind == Place::Kind::kConstant) at = "constant";
    out += row({std::to_string(i), s.op->name, s.plan.kernel, s.output.desc.shape.to_string(), at,
                human(s.cost.bytes), human(s.cost.flops), s.name});
  }
  out += "arena " + std::to_string(arena_bytes_) + " bytes, workspace " + std::to_string(workspace_bytes_) +
         " bytes a thread, " + human(cost_.bytes) + " bytes moved, " + human(cost_.flops) + " FLOPs\n";
  return out;
}

std::shared_ptr<const Plan> PlanCache::get(const Graph& graph) {
  const std::uint64_t hash = graph.structural_hash();
  auto found = entries_.find(hash);
  if (found == entries_.end()) {
    if (!entries_.empty() && entries_.size() >= capacity_) {
      entries_.erase(std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
        return a.second.last_use < b.second.last_use;
      }));
    }
    found = entries_.emplace(hash, Entry{std::make_shared<const Plan>(Plan::make(graph, cpu_))}).first;
  }
  found->second.last_use = ++uses_;
  return found->second.plan;
}

}  // namespace tessera
