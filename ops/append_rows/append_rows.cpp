#include "ops/append_rows/kernels.h"
#include "ops/kernel_row.h"
#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &cache = args.inputs[0], &rows = args.inputs[1], &past = args.inputs[2];
  if (!is_cache(cache)) reject("cache is " + describe(cache) + ", expected " + kCacheTypes);
  if (rows.dtype != DType::kF32 || rows.shape.rank() != 3 || rows.shape[1] != cache.shape[1] ||
      rows.shape[2] != cache.shape[2]) {
    reject("rows is " + describe(rows) + ", cache is " + describe(cache));
  }
  if (past != TensorDesc::dense(DType::kI32, {1})) reject("past is " + describe(past) + ", expected i32[1]");
  return cache;
}

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &rows = args.inputs[1], &cache = args.output;
  const std::int64_t past = *args.inputs[2].as<std::int32_t>();
  for (std::int64_t t = begin; t < end; ++t) {
    if (past + t < 0 || past + t >= cache.shape[0]) continue;
    for (std::int64_t head = 0; head < rows.shape[1]; ++head) {
      kernel(reinterpret_cast<const float*>(rows.data + t * rows.strides[0] + head * rows.strides[1]),
             rows.shape[2], cache.data + (past + t) * cache.strides[0] + head * cache.strides[1]);
    }
  }
}

struct AppendRow {
  DType cache;
  KernelRow row;
};

constexpr AppendRow kTable[] = {
#define TESSERA_KERNEL(level, function, cache) {DType::cache, {IsaLevel::level, #function, run<function>}},
#include "ops/append_rows/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const AppendRow* best = kTable;
  while (best->cache != args.output.dtype || !cpu.has(best->row.level)) ++best;
  return {.run = best->row.run, .kernel = best->row.name, .tasks = args.inputs[1].shape[0]};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.inputs[1].shape.elements());
  return {.bytes = n * (4 + bytes_per_element(args.output.dtype)), .flops = 0};
}

constexpr OpDef kAppendRows{
    .name = "append_rows", .infer = infer, .plan = plan, .cost = cost, .writes_input = 0};

}  // namespace

Tensor append_rows(Graph& g, const Operand& cache, const Operand& rows, const Operand& past) {
  return g.append(kAppendRows, {cache, rows, past});
}

}  // namespace tessera::ops
