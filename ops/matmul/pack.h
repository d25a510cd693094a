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
// kBlockPanels: block formats. K is cut into the format's blocks; for each of them a panel has 16 blocks, one
// of each row, with their numbers side by side: the same bytes in another order.
//
//   panel of rows 16p .. 16p+15     block 0                         block 1     ...
//                                   16 columns of d, f16            16 of d
//                                   16 of m or dmin, f16            ...
//                                   scales
//                                   group 0: codes of k 0 .. 31
//                                   group 1 ...
//   bytes                           16 * bytes of a block           the same
//
//   d, m      m where the format has one; Q6_K, whose d stands last in a file, starts with it as well
//   scales    Q4_K, Q5_K: bytes 0-3 of 16 columns, 64 bytes; then bytes 4-7; then bytes 8-11
//             Q6_K: scale 0 of 16 columns, 16 bytes; then scale 1; … scale 15
//   codes     a vector is 64 bytes: 16 columns of four codes, as byte dot products take them. Code
//             vector i of a group has k = 4i .. 4i+3. A group is
//               4 bits    4 vectors: vector j has code vector j in its low nibbles, j + 4 in its high ones
//               5 bits    the lower 4 as above; one vector more, whose bit i is the fifth of code vector i
//               6 bits    the lower 4 as above; two vectors more: bits 2s, 2s+1 of vector j are the upper two
//                         of code vector j + 2s
//               8 bits    8 vectors; codes are q + 128, so that all codes of all formats are unsigned
//
// Panels follow one another without gaps. Rows past N (in blocks: all bytes of the file's block) and an odd
// K's partner are zero. The view of a packed weight keeps dtype and shape [N, K]; its strides are zero.
#pragma once

#include <cstdint>

#include "tensor/tensor_view.h"

namespace tessera::ops {

enum class WeightLayout : std::uint8_t { kRows = 0, kF16Panels = 1, kBf16Panels = 2, kBlockPanels = 3 };

// Whether `desc` is a matrix [N, K] in one of the layouts above, dense where it is kRows.
bool is_weight(const TensorDesc& desc);

// Bytes from one row of a weight to the next for kRows, from one panel to the next otherwise.
std::int64_t weight_stride(const TensorDesc& weight);

// Bytes of the whole weight, padding included.
std::int64_t weight_bytes(const TensorDesc& weight);

// y[k] = w[row][k] for all k, widened exactly or as the format's decoder gives it; 0 <= row < N.
void unpack_row(const TensorView& weight, std::int64_t row, float* y) noexcept;

}  // namespace tessera::ops
