// Graph: append-only description of one computation. Building allocates no tensor memory and looks at no
// CPU; a thousand nodes cost well under half a millisecond, so models build a new graph for every step.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tensor/api.h"
#include "tensor/error.h"
#include "tensor/op.h"
#include "tensor/tensor_view.h"

namespace tessera {

// Handle of a value in one graph.
struct Tensor {
  std::int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
};

enum class NodeKind : std::uint8_t { kConstant, kInput, kOp, kView };

struct Node {
  NodeKind kind = NodeKind::kOp;
  std::uint8_t input_count = 0;
  std::uint8_t params_bytes = 0;
  const OpDef* op = nullptr;  // kOp
  TensorDesc desc;
  std::array<std::int32_t, kMaxInputs> inputs{};
  std::int32_t root = -1;     // the node whose memory this value lies in: itself, or the source of a view
  std::int64_t offset = 0;    // bytes from the start of the root's memory
  std::byte* data = nullptr;  // kConstant
  std::int32_t slot = -1;     // kInput: index into the pointers given to Executor::run
  alignas(8) std::array<std::byte, kMaxParamsBytes> params{};
  std::string name;
};

// What a build function takes: a value of the graph, or a view that becomes a constant of it.
class TESSERA_API Operand {
 public:
  Operand(Tensor tensor) : tensor_(tensor) {}        // NOLINT: conversion is the point
  Operand(const TensorView& view) : view_(&view) {}  // NOLINT
  Tensor tensor() const { return tensor_; }
  const TensorView* view() const { return view_; }

 private:
  Tensor tensor_;
  const TensorView* view_ = nullptr;
};

class TESSERA_API Graph {
 public:
  // A value known now: weights. The memory must outlive every run.
  Tensor constant(const TensorView& view);
  // A dense value whose memory is bound at run time, in slots numbered by the order of these calls.
  Tensor input(DType dtype, const Shape& shape, std::string_view name);
  // Keeps the value readable after a run; outputs are numbered by the order of these calls. Returns x.
  Tensor output(Tensor x);

  // Appends an op. Params is trivially copyable, at most kMaxParamsBytes, without padding (its bytes are
  // part of the structural hash). Throws what OpDef::infer throws.
  template <typename Params>
  Tensor append(const OpDef& op, std::span<const Operand> inputs, const Params& params) {
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= kMaxParamsBytes);
    return append_op(op, inputs, &params, sizeof params);
  }
  template <typename Params>
  Tensor append(const OpDef& op, std::initializer_list<Operand> inputs, const Params& params) {
    return append(op, std::span(inputs.begin(), inputs.size()), params);
  }
  Tensor append(const OpDef& op, std::initializer_list<Operand> inputs) {
    return append_op(op, {inputs.begin(), inputs.size()}, nullptr, 0);
  }
  // Another reading of x's memory, starting `offset` bytes into it; never a step of the plan. ops/ops.h has
  // the checked forms (reshape, slice).
  Tensor view(Tensor x, const TensorDesc& desc, std::int64_t offset);

  const TensorDesc& desc(Tensor x) const { return node(x).desc; }
  const Shape& shape(Tensor x) const { return node(x).desc.shape; }
  const Node& node(Tensor x) const {
    TESSERA_CHECK(x.id >= 0 && static_cast<std::size_t>(x.id) < nodes_.size());
    return nodes_[static_cast<std::size_t>(x.id)];
  }
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const Tensor> outputs() const { return outputs_; }
  int slot_count() const { return slots_; }

  // Names x "scope.name", within the current scope, so that observers can find its output.
  Tensor name(Tensor x, std::string_view name);
  // XXH3-64 of everything that a plan depends on: ops, params, shapes, wiring, constants' addresses, names.
  std::uint64_t structural_hash() const;
  // Forgets all nodes, keeps their memory.
  void clear();

  // While it lives, new nodes are named "outer.inner".
  class TESSERA_API Scope {
   public:
    Scope(Graph& graph, std::string_view name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Graph& graph_;
    std::size_t outer_length_;
  };

 private:
  Tensor append_op(const OpDef& op, std::span<const Operand> inputs, const void* params, std::size_t bytes);
  Tensor add_node(Node node);

  std::vector<Node> nodes_;
  std::vector<Tensor> outputs_;
  std::string scope_;
  std::int32_t slots_ = 0;
};

}  // namespace tessera
