#include "tensor/shape.h"

#include "tensor/error.h"

namespace tessera {

Shape::Shape(std::span<const std::int64_t> dims) {
  if (dims.size() > kMaxRank) {
    throw Error(ErrorCode::kUsage, "", "shape",
                "too many dimensions (got " + std::to_string(dims.size()) + ", limit " +
                    std::to_string(kMaxRank) + ")");
  }
  // 2^60 elements keep the byte size of any dtype within 64 bits.
  constexpr std::int64_t kLimit = std::int64_t{1} << 60;
  std::int64_t product = 1;
  for (const std::int64_t dim : dims) {
    std::int64_t next = 0;
    if (dim < 0 || __builtin_mul_overflow(product, dim == 0 ? 1 : dim, &next) || next > kLimit) {
      throw Error(ErrorCode::kUsage, "", "shape",
                  "size overflows or is negative at extent " + std::to_string(dim));
    }
    product = next;
    dims_[static_cast<std::size_t>(rank_++)] = dim;
  }
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t dim : dims()) product *= dim;
  return product;
}

std::int64_t Shape::rows() const {
  std::int64_t product = 1;
  for (int i = 0; i + 1 < rank_; ++i) product *= (*this)[i];
  return product;
}

std::string Shape::to_string() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) out += (i ? ", " : "") + std::to_string((*this)[i]);
  return out + "]";
}

std::int64_t dense_bytes(DType dtype, const Shape& shape) {
  const DTypeInfo& type = info(dtype);
  const std::int64_t columns = shape.rank() ? shape.back() : 1;
  if (columns % type.block_elems != 0) {
    throw Error(ErrorCode::kUsage, "", "shape",
                "row of " + std::to_string(columns) + " elements is no multiple of the " +
                    std::string(type.name) + " block of " + std::to_string(type.block_elems));
  }
  return shape.elements() / type.block_elems * type.block_bytes;
}

}  // namespace tessera
