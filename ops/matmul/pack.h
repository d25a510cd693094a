// Layouts in which products read their weights, and the way back to single rows.
//
// A weight is a matrix [N, K]: N outputs, K inputs. Its layout id (TensorDesc::layout) names one of these:
//
// kRows: as in a file, row n at n * K elements. f32, f16 or bf16.
//
// kF16Panels: 16 rows of the matrix, the columns of the product, stand side by side for each k.
//
//   panel of rows 16p .. 16p+15     k = 0                k = 1               ...   k = K-1
//                                   w[16p][0]            w[16p][1]
//                                   w[16p+1][0]          w[16p+1][1]
//                                   ...                  ...
//                                   w[16p+15][0]         w[16p+15][1]
//   bytes                           32                   32                        = 32 K
//
// kBf16Panels: the same with two k together, as bf16 dot products and matrix tiles take them; a dword holds
// the even k in its low half.
//
//   panel of rows 16p .. 16p+15     k = 0, 1                      k = 2, 3         ...
//                                   w[16p][0]    w[16p][1]        w[16p][2] ...
//                                   w[16p+1][0]  w[16p+1][1]      ...
//                                   ...
//                                   w[16p+15][0] w[16p+15][1]
//   bytes                           64                            64               = 64 ceil(K / 2)
//
// Panels follow one another without gaps. Rows past N and an odd K's partner are zero. The view of a packed
// weight keeps dtype and shape [N, K]; its strides are zero.
#pragma once

#include <cstdint>

#include "tensor/tensor_view.h"

namespace tessera::ops {

enum class WeightLayout : std::uint8_t { kRows = 0, kF16Panels = 1, kBf16Panels = 2 };

// Whether `desc` is a matrix [N, K] in one of the layouts above, dense where it is kRows.
bool is_weight(const TensorDesc& desc);

// Bytes from one row of a weight to the next for kRows, from one panel to the next otherwise.
std::int64_t weight_stride(const TensorDesc& weight);

// Bytes of the whole weight, padding included.
std::int64_t weight_bytes(const TensorDesc& weight);

// y[k] = w[row][k] for all k, widened exactly; 0 <= row < N.
void unpack_row(const TensorView& weight, std::int64_t row, float* y) noexcept;

}  // namespace tessera::ops
