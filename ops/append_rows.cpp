#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/op_util.h"
#include "ops/ops.h"
#include "quant/formats.h"
#include "quant/q8_0.h"

namespace tessera::ops {
namespace {

constexpr std::uint16_t kF16NaN = 0x7E00;

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

void encode_plain(const quant::Format& format, const float* x, std::int64_t n, std::uint8_t* bytes) {
  format.encode_row(x, n, bytes);
}

// The encoder takes finite numbers only.
void encode_q8_0(const quant::Format& format, const float* x, std::int64_t n, std::uint8_t* bytes) {
  using Block = quant::BlockQ8_0;
  for (std::int64_t i = 0; i < n; i += Block::kElems, bytes += sizeof(Block)) {
    if (std::all_of(x + i, x + i + Block::kElems, [](float value) { return std::isfinite(value); })) {
      format.encode_row(x + i, Block::kElems, bytes);
    } else {
      const Block nan{kF16NaN, {}};
      std::memcpy(bytes, &nan, sizeof nan);
    }
  }
}

template <DType dtype, auto encode>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &rows = args.inputs[1], &cache = args.output;
  const quant::Format& format = *quant::find_format(dtype);
  const std::int64_t past = *args.inputs[2].as<std::int32_t>();
  for (std::int64_t t = begin; t < end; ++t) {
    if (past + t < 0 || past + t >= cache.shape[0]) continue;
    for (std::int64_t head = 0; head < rows.shape[1]; ++head) {
      encode(format, reinterpret_cast<const float*>(rows.data + t * rows.strides[0] + head * rows.strides[1]),
             rows.shape[2],
             reinterpret_cast<std::uint8_t*>(cache.data + (past + t) * cache.strides[0] +
                                             head * cache.strides[1]));
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  OpPlan plan{
      .run = run<DType::kF32, encode_plain>, .kernel = "append_rows_f32", .tasks = args.inputs[1].shape[0]};
  if (args.output.dtype == DType::kF16) {
    plan.run = run<DType::kF16, encode_plain>;
    plan.kernel = "append_rows_f16";
  } else if (args.output.dtype == DType::kQ8_0) {
    plan.run = run<DType::kQ8_0, encode_q8_0>;
    plan.kernel = "append_rows_q8_0";
  }
  return plan;
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
