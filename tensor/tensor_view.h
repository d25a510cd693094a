// TensorView: how bytes that somebody else owns are to be read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensor/api.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace tessera {

// Distance in bytes from one index to the next, for each extent. The last extent is always contiguous.
using Strides = std::array<std::int64_t, kMaxRank>;

TESSERA_API Strides dense_strides(DType dtype, const Shape& shape);

// Dtype, shape, strides and layout of a value, without its memory.
struct TESSERA_API TensorDesc {
  DType dtype = DType::kF32;
  // 0: rows of elements or blocks as in a file. Other values name layouts that ops have for their kernels, of
  // weights (ops/matmul/pack.h) and of caches (ops/cache.h); only these ops understand them.
  std::uint8_t layout = 0;
  Shape shape;
  Strides strides{};

  static TensorDesc dense(DType dtype, const Shape& shape) {
    return {dtype, 0, shape, dense_strides(dtype, shape)};
  }
  bool is_dense() const { return layout == 0 && strides == dense_strides(dtype, shape); }
  friend bool operator==(const TensorDesc&, const TensorDesc&) = default;
};

// Never owns. The memory must outlive every graph, plan and run that uses the view.
struct TESSERA_API TensorView : TensorDesc {
  std::byte* data = nullptr;

  TensorView() = default;
  TensorView(const TensorDesc& desc, void* memory)
      : TensorDesc(desc), data(static_cast<std::byte*>(memory)) {}
  // Dense view. const memory is accepted because a view serves reading and writing alike: nothing writes to
  // an operand that an op does not declare as written.
  TensorView(DType type, const Shape& extents, const void* memory)
      : TensorDesc(dense(type, extents)), data(static_cast<std::byte*>(const_cast<void*>(memory))) {}

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

}  // namespace tessera
