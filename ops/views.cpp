#include <algorithm>

#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {

namespace {

// `desc` with its last extent split as `shape` says; false where that is not all that `shape` does.
bool split_last(TensorDesc& desc, const Shape& shape) {
  const auto dims = desc.shape.dims(), wanted = shape.dims();
  const std::size_t kept = dims.size() - 1;
  if (desc.layout != 0 || info(desc.dtype).block_elems != 1 || wanted.size() < dims.size() ||
      !std::equal(dims.begin(), dims.end() - 1, wanted.begin())) {
    return false;
  }
  const Strides dense = dense_strides(desc.dtype, shape);
  std::copy(dense.begin() + static_cast<std::ptrdiff_t>(kept), dense.end(),
            desc.strides.begin() + static_cast<std::ptrdiff_t>(kept));
  desc.shape = shape;
  return true;
}

}  // namespace

Tensor reshape(Graph& g, Tensor x, const Shape& shape) {
  TensorDesc desc = g.desc(x);
  const bool dense = desc.is_dense();
  if (desc.shape.elements() == shape.elements()) {
    if (dense) return g.view(x, TensorDesc::dense(desc.dtype, shape), 0);
    if (split_last(desc, shape)) return g.view(x, desc, 0);
  }
  throw Error(ErrorCode::kUsage, "", "reshape",
              "cannot read " + describe(desc) + " as " + shape.to_string() +
                  (dense ? "" : ": it is not dense, only its last extent can be split"));
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
