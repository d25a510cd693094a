#include <cstring>

#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &a = args.inputs[0], &b = args.inputs[1];
  const int rank = a.shape.rank();
  if (a.dtype != DType::kF32 || rank < 1) reject("a is " + describe(a) + ", expected f32 rows");
  bool fits = b.dtype == DType::kF32 && b.shape.rank() == rank;
  for (int i = 1; fits && i < rank; ++i) fits = a.shape[i] == b.shape[i];
  if (!fits) reject("b is " + describe(b) + ", a is " + describe(a));
  std::array<std::int64_t, kMaxRank> dims{};
  std::copy(a.shape.dims().begin(), a.shape.dims().end(), dims.begin());
  dims[0] += b.shape[0];
  return TensorDesc::dense(DType::kF32, Shape(std::span(dims.data(), static_cast<std::size_t>(rank))));
}

// Copies rows [begin, end) of x to a dense place whose row 0 is `to`.
void copy_rows(const TensorView& x, std::int64_t begin, std::int64_t end, float* to) {
  const std::int64_t columns = x.shape.back();
  for (std::int64_t r = begin; r < end; ++r) {
    std::memcpy(to + r * columns, RowRuns(x, r, r + 1).data<float>(),
                static_cast<std::size_t>(columns) * sizeof(float));
  }
}

// A task is a row of a or, after those, a row of b.
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &a = args.inputs[0], &b = args.inputs[1];
  const std::int64_t split = a.shape.rows();
  float* y = args.output.as<float>();
  copy_rows(a, begin, std::min(end, split), y);
  copy_rows(b, std::max<std::int64_t>(begin - split, 0), end - split, y + a.shape.elements());
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  return {.run = run, .kernel = "concat", .tasks = args.inputs[0].shape.rows() + args.inputs[1].shape.rows()};
}

OpCost cost(const OpArgs& args) { return {.bytes = 8 * static_cast<double>(args.output.shape.elements())}; }

constexpr OpDef kConcat{"concat", infer, plan, cost};

}  // namespace

Tensor concat(Graph& g, const Operand& a, const Operand& b) { return g.append(kConcat, {a, b}); }

}  // namespace tessera::ops
