#include <algorithm>
#include <type_traits>

#include "ops/kernel_row.h"
#include "ops/op_util.h"
#include "ops/ops.h"
#include "ops/resample/kernels.h"

namespace tessera::ops {
namespace {

struct Params {
  std::int32_t axis;
};

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &x = args.inputs[0], &first = args.inputs[1], &weights = args.inputs[2];
  const int axis = args.get<Params>().axis;
  if (axis != 0 && axis != 1) reject("axis is " + std::to_string(axis) + ", expected 0 or 1");
  if (x.dtype != DType::kU8 || x.shape.rank() != 3 || x.shape[2] != kResampleChannels || !x.is_dense())
    reject("x is " + describe(x) + ", expected dense u8 [y, x, 3]");
  if (first.dtype != DType::kI32 || first.shape.rank() != 1 || !first.is_dense())
    reject("first is " + describe(first) + ", expected dense i32 [O]");
  if (weights.dtype != DType::kI32 || weights.shape.rank() != 2 || !weights.is_dense() ||
      weights.shape[0] != first.shape[0] || weights.shape[1] > x.shape[axis]) {
    reject("weights is " + describe(weights) + ", expected dense i32 [" + std::to_string(first.shape[0]) +
           ", K], K at most " + std::to_string(x.shape[axis]));
  }
  const std::int64_t out = first.shape[0];
  return TensorDesc::dense(DType::kU8,
                           {axis == 0 ? out : x.shape[0], axis == 1 ? out : x.shape[1], kResampleChannels});
}

bool all_inside(const KernelArgs& args, std::int64_t extent) {
  const TensorView &first = args.inputs[1], &weights = args.inputs[2];
  const auto* at = first.as<std::int32_t>();
  return std::all_of(at, at + first.shape[0],
                     [&](std::int32_t o) { return o >= 0 && o <= extent - weights.shape[1]; });
}

void clear_rows(const TensorView& y, std::int64_t begin, std::int64_t end) {
  const std::int64_t row = y.shape[1] * kResampleChannels;
  std::fill(y.as<std::uint8_t>() + begin * row, y.as<std::uint8_t>() + end * row, std::uint8_t{0});
}

// A task is a row of the output.
template <void (*kernel)(const ResampleAcrossRows&) noexcept>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& x = args.inputs[0];
  if (!all_inside(args, x.shape[0])) return clear_rows(args.output, begin, end);
  const auto *first = args.inputs[1].as<std::int32_t>(), *weights = args.inputs[2].as<std::int32_t>();
  const std::int64_t taps = args.inputs[2].shape[1], pitch = x.shape[1] * kResampleChannels;
  for (std::int64_t o = begin; o < end; ++o) {
    kernel({x.as<std::uint8_t>() + first[o] * pitch, pitch, pitch, weights + o * taps, taps,
            args.output.as<std::uint8_t>() + o * pitch});
  }
}

template <void (*kernel)(const ResampleAlongRow&) noexcept>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& x = args.inputs[0];
  if (!all_inside(args, x.shape[1])) return clear_rows(args.output, begin, end);
  const auto *first = args.inputs[1].as<std::int32_t>(), *weights = args.inputs[2].as<std::int32_t>();
  const std::int64_t taps = args.inputs[2].shape[1], n = args.output.shape[1];
  for (std::int64_t row = begin; row < end; ++row) {
    kernel({x.as<std::uint8_t>() + row * x.shape[1] * kResampleChannels, x.shape[1], n, first, weights, taps,
            args.output.as<std::uint8_t>() + row * n * kResampleChannels});
  }
}

struct ResampleRow {
  KernelRow row;
  bool along;
};

constexpr ResampleRow kRows[] = {
#define TESSERA_KERNEL(level, function, arguments) \
  {{IsaLevel::level, #function, run<function>}, std::is_same_v<arguments, ResampleAlongRow>},
#include "ops/resample/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const bool along = args.get<Params>().axis == 1;
  const ResampleRow& found = *std::find_if(std::begin(kRows), std::end(kRows), [&](const ResampleRow& each) {
    return each.along == along && cpu.has(each.row.level);
  });
  return {.run = found.row.run, .kernel = found.row.name, .tasks = args.output.shape[0]};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = n + static_cast<double>(args.inputs[0].shape.elements()),
          .flops = 2 * n * static_cast<double>(args.inputs[2].shape[1])};
}

constexpr OpDef kResample{"resample", infer, plan, cost};

}  // namespace

Tensor resample(Graph& g, const Operand& x, int axis, const Operand& first, const Operand& weights) {
  return g.append(kResample, {x, first, weights}, Params{axis});
}

}  // namespace tessera::ops
