#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {

Tensor reshape(Graph& g, Tensor x, const Shape& shape) {
  const TensorDesc& desc = g.desc(x);
  if (!desc.is_dense() || desc.shape.elements() != shape.elements()) {
    throw Error(ErrorCode::kUsage, "", "reshape",
                "cannot read " + describe(desc) + " as " + shape.to_string() +
                    (desc.is_dense() ? "" : ": it is not dense"));
  }
  return g.view(x, TensorDesc::dense(desc.dtype, shape), 0);
}

Tensor slice(Graph& g, Tensor x, int axis, std::int64_t begin, std::int64_t end) {
  const TensorDesc& desc = g.desc(x);
  const int rank = desc.shape.rank();
  if (desc.layout != 0 || axis < 0 || axis >= rank || begin < 0 || begin > end || end > desc.shape[axis] ||
      (axis == rank - 1 && info(desc.dtype).block_elems != 1)) {
    throw Error(ErrorCode::kUsage, "", "slice",
                "no [" + std::to_string(begin) + ", " + std::to_string(end) + ") of axis " +
                    std::to_string(axis) + " in " + describe(desc));
  }
  std::array<std::int64_t, kMaxRank> dims{};
  for (int i = 0; i < rank; ++i) dims[static_cast<std::size_t>(i)] = desc.shape[i];
  dims[static_cast<std::size_t>(axis)] = end - begin;
  TensorDesc part = desc;
  part.shape = Shape(std::span(dims.data(), static_cast<std::size_t>(rank)));
  return g.view(x, part, begin * desc.strides[static_cast<std::size_t>(axis)]);
}

}  // namespace tessera::ops
