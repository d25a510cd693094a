#include "tensor/graph.h"

#include <xxhash.h>

#include "tensor/error.h"

namespace tessera {

Graph::Scope::Scope(Graph& graph, std::string_view name) : graph_(graph), outer_length_(graph.scope_.size()) {
  if (!graph_.scope_.empty()) graph_.scope_ += '.';
  graph_.scope_ += name;
}

Graph::Scope::~Scope() { graph_.scope_.resize(outer_length_); }

Tensor Graph::add_node(Node node) {
  const auto id = static_cast<std::int32_t>(nodes_.size());
  if (node.root < 0) node.root = id;
  if (node.name.empty()) node.name = scope_;
  nodes_.push_back(std::move(node));
  return {id};
}

Tensor Graph::constant(const TensorView& view) {
  Node node;
  node.kind = NodeKind::kConstant;
  node.desc = view;
  node.data = view.data;
  return add_node(std::move(node));
}

Tensor Graph::input(DType dtype, const Shape& shape, std::string_view name) {
  Node node;
  node.kind = NodeKind::kInput;
  node.desc = TensorDesc::dense(dtype, shape);
  node.slot = slots_++;
  node.name = name;
  return add_node(std::move(node));
}

Tensor Graph::output(Tensor x) {
  node(x);  // checks
  outputs_.push_back(x);
  return x;
}

Tensor Graph::append_op(const OpDef& op, std::span<const Operand> inputs, const void* params,
                        std::size_t bytes) {
  TESSERA_CHECK(inputs.size() <= kMaxInputs);
  Node node;
  node.op = &op;
  std::array<TensorDesc, kMaxInputs> descs;
  for (const Operand& operand : inputs) {
    const Tensor x = operand.view() ? constant(*operand.view()) : operand.tensor();
    descs[node.input_count] = desc(x);
    node.inputs[node.input_count++] = x.id;
  }
  node.params_bytes = static_cast<std::uint8_t>(bytes);
  if (bytes) std::memcpy(node.params.data(), params, bytes);
  const OpArgs args{{descs.data(), inputs.size()}, {}, node.params.data()};
  try {
    node.desc = op.infer(args);
  } catch (const Error& error) {
    throw Error(error.code(), scope_, op.name, error.reason());
  }
  if (op.writes_input >= 0) {
    const Node& target =
        nodes_[static_cast<std::size_t>(node.inputs[static_cast<std::size_t>(op.writes_input)])];
    node.root = target.root;
    node.offset = target.offset;
  }
  return add_node(std::move(node));
}

Tensor Graph::view(Tensor x, const TensorDesc& desc, std::int64_t offset) {
  const Node& source = node(x);
  Node node;
  node.kind = NodeKind::kView;
  node.desc = desc;
  node.inputs[0] = x.id;
  node.input_count = 1;
  node.root = source.root;
  node.offset = source.offset + offset;
  return add_node(std::move(node));
}

Tensor Graph::name(Tensor x, std::string_view name) {
  node(x);  // checks
  Node& target = nodes_[static_cast<std::size_t>(x.id)];
  target.name = scope_.empty() ? std::string(name) : scope_ + "." + std::string(name);
  return x;
}

std::uint64_t Graph::structural_hash() const {
  std::vector<std::uint64_t> words;
  words.reserve(nodes_.size() * 24);
  auto put = [&words](auto value) {
    if constexpr (std::is_pointer_v<decltype(value)>) {
      words.push_back(reinterpret_cast<std::uintptr_t>(value));
    } else {
      words.push_back(static_cast<std::uint64_t>(value));
    }
  };
  for (const Node& node : nodes_) {
    put(node.op);
    put(node.data);
    put(node.slot);
    put(node.root);
    put(node.offset);
    put(static_cast<unsigned>(node.desc.dtype) | unsigned{node.desc.layout} << 8 |
        static_cast<unsigned>(node.desc.shape.rank()) << 16 | unsigned{node.input_count} << 24);
    for (int i = 0; i < node.desc.shape.rank(); ++i) {
      put(node.desc.shape[i]);
      put(node.desc.strides[static_cast<std::size_t>(i)]);
    }
    for (int i = 0; i < node.input_count; ++i) put(node.inputs[static_cast<std::size_t>(i)]);
    for (std::size_t i = 0; i < node.params_bytes; i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, node.params.data() + i, 8);
      put(word);
    }
    put(XXH3_64bits(node.name.data(), node.name.size()));
  }
  for (const Tensor& x : outputs_) put(x.id);
  return XXH3_64bits(words.data(), words.size() * sizeof words[0]);
}

void Graph::clear() {
  nodes_.clear();
  outputs_.clear();
  slots_ = 0;
}

}  // namespace tessera
