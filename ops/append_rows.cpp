#include <algorithm>
#include <cstring>

#include "ops/op_util.h"
#include "ops/ops.h"
#include "quant/half.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &cache = args.inputs[0], &rows = args.inputs[1], &past = args.inputs[2];
  if ((cache.dtype != DType::kF32 && cache.dtype != DType::kF16) || cache.layout != 0 ||
      cache.shape.rank() != 3) {
    reject("cache is " + describe(cache) + ", expected f32 or f16 [C, G, d]");
  }
  if (rows.dtype != DType::kF32 || rows.shape.rank() != 3 || rows.shape[1] != cache.shape[1] ||
      rows.shape[2] != cache.shape[2]) {
    reject("rows is " + describe(rows) + ", cache is " + describe(cache));
  }
  if (past != TensorDesc::dense(DType::kI32, {1})) reject("past is " + describe(past) + ", expected i32[1]");
  return cache;
}

void convert(const float* from, float* to, std::int64_t n) {
  std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
}
void convert(const float* from, std::uint16_t* to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = quant::f32_to_f16(from[i]);
}

template <typename T>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &rows = args.inputs[1], &cache = args.output;
  const std::int64_t past = *args.inputs[2].as<std::int32_t>();
  for (std::int64_t t = begin; t < end; ++t) {
    if (past + t < 0 || past + t >= cache.shape[0]) continue;
    for (std::int64_t head = 0; head < rows.shape[1]; ++head) {
      convert(reinterpret_cast<const float*>(rows.data + t * rows.strides[0] + head * rows.strides[1]),
              reinterpret_cast<T*>(cache.data + (past + t) * cache.strides[0] + head * cache.strides[1]),
              rows.shape[2]);
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  const bool half = args.output.dtype == DType::kF16;
  return {.run = half ? run<std::uint16_t> : run<float>,
          .kernel = half ? "append_rows_f16" : "append_rows_f32",
          .tasks = args.inputs[1].shape[0]};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.inputs[1].shape.elements());
  return {.bytes = n * (4 + static_cast<double>(info(args.output.dtype).block_bytes)), .flops = 0};
}

constexpr OpDef kAppendRows{
    .name = "append_rows", .infer = infer, .plan = plan, .cost = cost, .writes_input = 0};

}  // namespace

Tensor append_rows(Graph& g, const Operand& cache, const Operand& rows, const Operand& past) {
  return g.append(kAppendRows, {cache, rows, past});
}

}  // namespace tessera::ops
