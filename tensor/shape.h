// Shape: up to six extents, outermost first, as in Hugging Face files: a matrix is [rows, columns].
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "tensor/api.h"
#include "tensor/dtype.h"

namespace tessera {

inline constexpr int kMaxRank = 6;

class TESSERA_API Shape {
 public:
  Shape() = default;  // rank 0: one element
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  // Throws Error{kUsage} for a rank over kMaxRank, a negative extent, or a product that exceeds 2^60.
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t back(int i = 0) const { return dims_[static_cast<std::size_t>(rank_ - 1 - i)]; }
  std::span<const std::int64_t> dims() const { return {dims_.data(), static_cast<std::size_t>(rank_)}; }
  std::int64_t elements() const;
  // Product of all extents but the last: the number of rows. 1 for rank 0.
  std::int64_t rows() const;
  std::string to_string() const;  // "[3, 4]"
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

// Bytes of a dense tensor. Throws Error{kUsage} when the last extent is no multiple of the dtype's block.
TESSERA_API std::int64_t dense_bytes(DType dtype, const Shape& shape);

}  // namespace tessera
