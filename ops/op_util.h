// What op sources share: checks with messages, and walking over rows of strided values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "tensor/error.h"
#include "tensor/op.h"

namespace tessera::ops {

// Throws Error{kUsage}; Graph adds the op's name and scope.
[[noreturn]] inline void reject(const std::string& reason) { throw Error(ErrorCode::kUsage, "", "", reason); }

// "f32[3, 4]", for messages.
inline std::string describe(const TensorDesc& desc) {
  return std::string(info(desc.dtype).name) + desc.shape.to_string();
}

inline double bytes_per_element(DType dtype) {
  const DTypeInfo& type = info(dtype);
  return static_cast<double>(type.block_bytes) / type.block_elems;
}

// Rows [begin, end) of a value, in index order, as runs of rows that lie a constant stride apart.
class RowRuns {
 public:
  RowRuns(const TensorView& x, std::int64_t begin, std::int64_t end) : x_(x), index_(begin), end_(end) {
    const int rank = x.shape.rank();
    stride_ = rank >= 2 ? x.strides[static_cast<std::size_t>(rank - 2)] : 0;
    // A dense value is one run, however many extents it has.
    inner_ = rank < 2 || x.is_dense() ? std::max<std::int64_t>(end, 1) : x.shape[rank - 2];
  }
  bool done() const { return index_ >= end_; }
  void next() { index_ += count(); }
  std::int64_t index() const { return index_; }  // of the run's first row
  std::int64_t count() const { return std::min(end_ - index_, inner_ - index_ % inner_); }
  template <typename T>
  T* data() const {
    std::int64_t outer = index_ / inner_, offset = index_ % inner_ * stride_;
    for (int i = x_.shape.rank() - 3; i >= 0 && outer > 0; --i) {
      offset += outer % x_.shape[i] * x_.strides[static_cast<std::size_t>(i)];
      outer /= x_.shape[i];
    }
    return reinterpret_cast<T*>(x_.data + offset);
  }
  template <typename T>
  std::int64_t stride() const {  // in elements of T
    return stride_ / static_cast<std::int64_t>(sizeof(T));
  }

 private:
  const TensorView& x_;
  std::int64_t index_, end_, stride_, inner_;
};

}  // namespace tessera::ops
