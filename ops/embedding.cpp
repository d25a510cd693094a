#include <algorithm>
#include <limits>

#include "ops/matmul/pack.h"
#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &table = args.inputs[0], &ids = args.inputs[1];
  if (!is_weight(table)) {
    reject("table is " + describe(table) +
           ", expected a matrix of f32, f16 or bf16, or one packed by pack_weight");
  }
  if (ids.dtype != DType::kI32 || ids.shape.rank() != 1 || !ids.is_dense()) {
    reject("ids is " + describe(ids) + ", expected dense i32[T]");
  }
  return TensorDesc::dense(DType::kF32, {ids.shape[0], table.shape[1]});
}

void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& table = args.inputs[0];
  const auto* ids = args.inputs[1].as<std::int32_t>();
  const std::int64_t rows = table.shape[0], columns = table.shape[1];
  for (std::int64_t t = begin; t < end; ++t) {
    float* y = args.output.as<float>() + t * columns;
    if (ids[t] >= 0 && ids[t] < rows) {
      unpack_row(table, ids[t], y);
    } else {
      std::fill_n(y, columns, std::numeric_limits<float>::quiet_NaN());
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  return {.run = run, .kernel = "embedding", .tasks = args.inputs[1].shape[0]};
}

OpCost cost(const OpArgs& args) {
  const double elements = static_cast<double>(args.output.shape.elements());
  return {.bytes = elements * (4 + info(args.inputs[0].dtype).block_bytes)};
}

constexpr OpDef kEmbedding{"embedding", infer, plan, cost};

}  // namespace

Tensor embedding(Graph& g, const Operand& table, const Operand& ids) {
  return g.append(kEmbedding, {table, ids});
}

}  // namespace tessera::ops
