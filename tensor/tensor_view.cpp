#include "tensor/tensor_view.h"

namespace tessera {

Strides dense_strides(DType dtype, const Shape& shape) {
  const DTypeInfo& type = info(dtype);
  Strides strides{};
  const int rank = shape.rank();
  if (rank == 0) return strides;
  strides[static_cast<std::size_t>(rank - 1)] = type.block_bytes;
  std::int64_t bytes = shape.back() / type.block_elems * type.block_bytes;
  for (int i = rank - 2; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = bytes;
    bytes *= shape[i];
  }
  return strides;
}

}  // namespace tessera
