#include <cmath>
#include <cstring>

#include "ops/op_util.h"
#include "ops/ops.h"
#include "quant/half.h"

namespace tessera::ops {
namespace {

// Side of a square table of `rows` rows, 0 if there is none.
std::int64_t side_of(std::int64_t rows) {
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(rows))));
  return side * side == rows ? side : 0;
}

TensorDesc infer(const OpArgs& args) {
  const TensorDesc& table = args.inputs[0];
  const auto& grid = args.get<GridOptions>();
  const bool plain = table.dtype == DType::kF32 || table.dtype == DType::kF16 || table.dtype == DType::kBF16;
  if (!plain || table.layout != 0 || table.shape.rank() != 2 || side_of(table.shape[0]) == 0) {
    reject("table is " + describe(table) + ", expected f32, f16 or bf16 [n*n, D]");
  }
  if (grid.t < 1 || grid.h < 1 || grid.w < 1 || grid.merge < 1 || grid.h % grid.merge != 0 ||
      grid.w % grid.merge != 0) {
    reject("grid is " + Shape{grid.t, grid.h, grid.w}.to_string() +
           ", expected extents above 0, multiples of " + std::to_string(grid.merge));
  }
  return TensorDesc::dense(DType::kF32, {Shape{grid.t, grid.h, grid.w}.elements(), table.shape[1]});
}

// Between which two rows of the table a coordinate lies, and how far towards the second.
struct Between {
  std::int64_t low, high;
  float weight;
};

// i of `count` places, corners on corners: i (side - 1) / (count - 1).
Between between(std::int64_t i, std::int64_t count, std::int64_t side) {
  if (count == 1) return {0, std::min<std::int64_t>(1, side - 1), 0};
  const std::int64_t low = i * (side - 1) / (count - 1), rest = i * (side - 1) % (count - 1);
  return {low, std::min(low + 1, side - 1), static_cast<float>(rest) / static_cast<float>(count - 1)};
}

float to_f32(float value) { return value; }
struct Half {
  std::uint16_t bits;
};
struct BHalf {
  std::uint16_t bits;
};
float to_f32(Half value) { return quant::f16_to_f32(value.bits); }
float to_f32(BHalf value) { return quant::bf16_to_f32(value.bits); }

// A task is one patch of a frame, written for every t.
template <typename T>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const auto& grid = args.get<GridOptions>();
  const TensorView& table = args.inputs[0];
  const std::int64_t side = side_of(table.shape[0]), columns = table.shape[1];
  const std::int64_t merge = grid.merge, group = merge * merge, groups_across = grid.w / merge;
  const std::int64_t frame = std::int64_t{grid.h} * grid.w * columns;
  auto entry = [&](std::int64_t r, std::int64_t c) {
    return reinterpret_cast<const T*>(table.data + (r * side + c) * table.strides[0]);
  };
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t window = i / group, inside = i % group;
    const Between r = between(window / groups_across * merge + inside / merge, grid.h, side);
    const Between c = between(window % groups_across * merge + inside % merge, grid.w, side);
    const float w00 = (1 - r.weight) * (1 - c.weight), w01 = (1 - r.weight) * c.weight;
    const float w10 = r.weight * (1 - c.weight), w11 = r.weight * c.weight;
    const T *t00 = entry(r.low, c.low), *t01 = entry(r.low, c.high);
    const T *t10 = entry(r.high, c.low), *t11 = entry(r.high, c.high);
    float* y = args.output.as<float>() + i * columns;
    for (std::int64_t k = 0; k < columns; ++k) {
      y[k] = w00 * to_f32(t00[k]) + w01 * to_f32(t01[k]) + w10 * to_f32(t10[k]) + w11 * to_f32(t11[k]);
    }
    for (std::int64_t t = 1; t < grid.t; ++t) {
      std::memcpy(y + t * frame, y, static_cast<std::size_t>(columns) * sizeof(float));
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  const auto& grid = args.get<GridOptions>();
  const DType type = args.inputs[0].dtype;
  return {.run = type == DType::kF32   ? run<float>
                 : type == DType::kF16 ? run<Half>
                                       : run<BHalf>,
          .kernel = "interpolate_positions",
          .tasks = std::int64_t{grid.h} * grid.w};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.output.shape.elements());
  return {.bytes = 4 * n + 4 * n * info(args.inputs[0].dtype).block_bytes, .flops = 7 * n};
}

constexpr OpDef kInterpolatePositions{"interpolate_positions", infer, plan, cost};

}  // namespace

Tensor interpolate_positions(Graph& g, const Operand& table, const GridOptions& grid) {
  return g.append(kInterpolatePositions, {table}, grid);
}

}  // namespace tessera::ops
