// Every operation. A build function checks its operands, appends one node to the graph and returns its value;
// it throws Error{kUsage} naming the op and the shapes that do not fit. Values are f32 unless said otherwise,
// and rows of the last extent are contiguous. Where two operands are said to be equal in shape, nothing is
// broadcast.
//
// Shape letters: T tokens or rows, D width of a row, H heads, G key/value heads, d width of a head, P
// patches, N outputs and K inputs of a product, C rows of a cache, V rows of a table.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "tensor/api.h"
#include "tensor/buffer.h"
#include "tensor/cpu.h"
#include "tensor/graph.h"

namespace tessera::ops {

// ---- views: other readings of the same memory, no step of the plan ----

// The element count stays. x is dense, or only its last extent is split.
TESSERA_API Tensor reshape(Graph& g, Tensor x, const Shape& shape);
// Indices [begin, end) of one extent; axis counts from 0.
TESSERA_API Tensor slice(Graph& g, Tensor x, int axis, std::int64_t begin, std::int64_t end);

// ---- moving rows ----

// [a0, ...] and [b0, ...] with equal other extents -> [a0 + b0, ...].
TESSERA_API Tensor concat(Graph& g, const Operand& a, const Operand& b);
// y[t] = table[ids[t]]: table [V, D] f32, f16, bf16 or packed by pack_weight, ids i32 [T] in [0, V) -> [T,
// D]. Rows of a block format are what its decoder (quant/formats.h) gives, bit for bit. An id outside the
// table gives a row of NaN.
TESSERA_API Tensor embedding(Graph& g, const Operand& table, const Operand& ids);
// y = x, then y[index[i]] = rows[i] for i = 0, 1, …: x [T, D], rows [R, D], index i32 [R] in [0, T), read at
// run time. A row whose index is outside is left out.
TESSERA_API Tensor scatter_rows(Graph& g, const Operand& x, const Operand& rows, const Operand& index);
// y = x, then y[index[i]] += rows[i], as above.
TESSERA_API Tensor scatter_add_rows(Graph& g, const Operand& x, const Operand& rows, const Operand& index);
// Where a cache of that shape [C, G, d] has its elements: f32, f16, bf16 or, where 32 divides d, q8_0, the
// rows of each head together, as attention reads them fastest. q8_0 has layouts of its own, one for keys and
// one for values (ops/cache_tiles.h), in which alone the ops below take it; of the other types they take any
// with contiguous vectors of d. Throws Error{kUsage} for anything else.
enum class CachePart : std::uint8_t { kKeys, kValues };
TESSERA_API TensorDesc cache_desc(DType dtype, CachePart part, const Shape& shape);
// Of the memory that a cache needs, for q8_0 at any alignment of 2 bytes, best of 64.
TESSERA_API std::size_t cache_bytes(const TensorDesc& cache);
// Writes rows [T, G, d] into cache [C, G, d] at rows past[0] .. past[0] + T - 1 and returns the cache. past:
// i32 [1], read at run time; rows that would fall outside the cache are not written. A q8_0 block (32
// elements) with a NaN or Inf in it gets a scale of NaN, so that all of it reads as NaN.
TESSERA_API Tensor append_rows(Graph& g, const Operand& cache, const Operand& rows, const Operand& past);

// ---- elementwise ----

// a + b, equal shapes.
TESSERA_API Tensor add(Graph& g, const Operand& a, const Operand& b);
// gate / (1 + e^-gate) * up, equal shapes.
TESSERA_API Tensor silu_mul(Graph& g, const Operand& gate, const Operand& up);
enum class Gelu : std::int32_t {
  kTanh,  // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  kErf,   // 0.5 x (1 + erf(x / sqrt 2))
};
TESSERA_API Tensor gelu(Graph& g, const Operand& x, Gelu kind);

// ---- rows ----

struct RmsNormOptions {
  float eps = 1e-6f;
};
// x * weight / sqrt(mean(x^2) + eps) over the last extent: x [..., D], weight [D].
TESSERA_API Tensor rms_norm(Graph& g, const Operand& x, const Operand& weight, const RmsNormOptions& options);
struct LayerNormOptions {
  float eps = 1e-6f;
};
// (x - mean) / sqrt(var + eps) * weight + bias with the population variance: x [..., D], weight and bias [D].
TESSERA_API Tensor layer_norm(Graph& g, const Operand& x, const Operand& weight, const Operand& bias,
                              const LayerNormOptions& options);
// e^(x - max) / sum over the last extent. A row of -inf alone gives zeros.
TESSERA_API Tensor softmax(Graph& g, const Operand& x);
// Indices i32 [..., k] of the k largest of each row, largest first, equal values by smaller index; NaN counts
// as smallest. k is from 1 to the width of a row.
TESSERA_API Tensor top_k(Graph& g, const Operand& x, std::int64_t k);

// ---- products ----

// y = x w^T: x [..., K], w [N, K] f32, f16 or bf16 as in a file, or packed by pack_weight -> [..., N]. Sums
// are f32. A row of y is the same bits whatever other rows are computed with it; but one row alone may differ
// from the same row among several: with f32 weights and OpenBLAS within float rounding; with packed f16 and
// bf16 weights where the CPU has bf16 dot products or tiles, and with block formats on AMX, within that of
// bf16, to which x and the decoded weights are then rounded.
//
// With a block format x is quantized before, each group of 32 of a row to signed bytes by its own largest
// magnitude (ops/matmul/activations.h): a step named quantize_rows, which products that read the same x one
// after the other share. A group of x that has a NaN or Inf makes all outputs of its row NaN.
TESSERA_API Tensor matmul(Graph& g, const Operand& x, const Operand& w);
// y = x w^T + bias, bias f32 [N].
TESSERA_API Tensor matmul(Graph& g, const Operand& x, const Operand& w, const Operand& bias);
// y = gelu(x w^T + bias): the bits of the two steps, without a way through memory between them.
TESSERA_API Tensor matmul(Graph& g, const Operand& x, const Operand& w, const Operand& bias, Gelu kind);
// y = a + x w^T, and a + (x w^T + bias): a [..., N]. Likewise the bits of add.
TESSERA_API Tensor matmul_add(Graph& g, const Operand& a, const Operand& x, const Operand& w);
TESSERA_API Tensor matmul_add(Graph& g, const Operand& a, const Operand& x, const Operand& w,
                              const Operand& bias);
// y = silu(x gate^T) * (x up^T): gate and up [N, K] -> [..., N], the bits of silu_mul behind matmul_each. Of
// several rows, with gate and up of one format, a single step named matmul. Its value is then what `next`
// wants, the weight [M, N] of the product that will read y: if it has a block format, not floats but the i32
// [..., 12 N / 32] that quantize_rows makes of them, which only products with block weights take.
TESSERA_API Tensor matmul_silu_mul(Graph& g, const Operand& x, const Operand& gate, const Operand& up,
                                   const Operand& next);
// The products of x with each of the weights. Those of one format that follow one another are one step, and
// then slices of its value.
TESSERA_API std::vector<Tensor> matmul_each(Graph& g, const Operand& x,
                                            std::initializer_list<Operand> weights);
// Convolution whose kernel covers its whole input: patches [P, c*t*h*w], w [N, c, t, h, w] as in a file or
// packed by pack_weight, bias [N] -> [P, N]. A step named matmul.
TESSERA_API Tensor patch_embed(Graph& g, const Operand& patches, const TensorView& w, const Operand& bias);

// A weight in the layout that the kernels of this library read, made once at load. Matrices of f16, bf16 and
// block formats (of as many bytes as before, N rounded up to 16) are copied into panels (ops/matmul/pack.h);
// f32 stays as it is, copied only if `w` is not aligned to 4 bytes. w is dense, of any alignment and of two
// extents or more, the last one a multiple of the dtype's block: [N, ...] becomes [N, K]. matmul, embedding
// and patch_embed take `view` wherever they take a weight; a weight that is not packed must be aligned to its
// elements, and those of block formats must be packed. Throws Error{kUsage} for anything else,
// Error{kResource} without memory.
struct TESSERA_API PackedWeight {
  TensorView view;
  Buffer memory;  // what view reads, empty where it reads the source's own memory
};
TESSERA_API PackedWeight pack_weight(const TensorView& w, int threads);

// The same in memory of the caller: packed_bytes(w) bytes, aligned to kAlignment. Panels follow one another:
// w may be packed in pieces of 16 rows each or a multiple, to where the bytes of the pieces before end.
struct PackOptions {
  int threads = 1;
  Cpu cpu = Cpu::from_environment();  // how fast; the bytes are the same on any
};
TESSERA_API TensorView pack_weight(const TensorView& w, std::byte* memory, const PackOptions& options);
// What pack_weight makes of w; and its bytes, 0 where there is nothing to copy: f32, aligned.
TESSERA_API TensorDesc packed_desc(const TensorView& w);
TESSERA_API std::size_t packed_bytes(const TensorView& w);

// ---- pictures ----

// Weighted sums along axis 0 or 1 of an 8-bit picture, as antialiased resizing makes them, rounded to 8 bits:
// x u8 [h, w, 3], first i32 [O], weights i32 [O, K] -> u8, the axis of O entries, with
// y[o] = clamp((2^21 + sum_k weights[o, k] x[first[o] + k]) >> 22, 0, 255). Sums are of 32 bits: in each row
// of weights the magnitudes add up to less than 2^23. All of y is zeros if a window reaches outside of x.
TESSERA_API Tensor resample(Graph& g, const Operand& x, int axis, const Operand& first,
                            const Operand& weights);
struct PatchOptions {
  std::int32_t patch = 16;  // pixels a side
  std::int32_t depth = 2;   // frames that a patch spans
  std::int32_t merge = 2;   // patches a side of a window
};
// Frames of 8-bit samples as rows of a matrix: samples u8 [F, h*patch, w*patch, c], levels f32 [c, 256] ->
// [t*h*w, c*depth*patch*patch] with t = F / depth rounded up; sample s of channel i becomes levels[i][s]. The
// last frame stands for those missing at the end. Rows: time, windows of merge x merge patches in raster
// order, patches in raster order within one. Columns: channel, frame, y, x, as in a flattened convolution
// kernel (spec/qwen3-vl.md 3.6). h and w are multiples of merge.
TESSERA_API Tensor image_patches(Graph& g, const Operand& samples, const Operand& levels,
                                 const PatchOptions& options);

// ---- positions ----

enum class RopeLayout : std::int32_t {
  kSequence,     // one position a token, all frequencies
  kChunked,      // three axes t, h, w: frequencies [0, s0) follow t, the next s1 h, the next s2 w (Qwen2-VL)
  kInterleaved,  // frequency i follows h if i % 3 == 1 and i < 3 s1, w if i % 3 == 2 and i < 3 s2, else t
                 // (Qwen3-VL)
  kGrid,         // two axes row, column: the first half of the frequencies follows the row, the second the
                 // column, both with f[j] = theta^(-2j / (d/2)) (vision towers)
};
struct RopeOptions {
  double theta = 10000;
  std::int32_t head_dim = 0;
  RopeLayout layout = RopeLayout::kSequence;
  std::array<std::int32_t, 3> sections{};  // kChunked, kInterleaved; their sum is head_dim / 2
};
// positions i32 [axes, T] (kSequence: [1, T]) -> [T, d/2, 2]: cos and sin of position * frequency, computed
// in double; frequency i is theta^(-2i/d) but for kGrid.
TESSERA_API Tensor rope_table(Graph& g, const Operand& positions, const RopeOptions& options);
// Rotates pairs (i, i + d/2): x [T, H, d], table [T, d/2, 2] -> [T, H, d].
TESSERA_API Tensor rope(Graph& g, const Operand& x, const Operand& table);
// Bilinear reading of a learned position table, corners aligned: table [n*n, D] f32, f16 or bf16 -> [t*h*w,
// D], rows in merge order (groups of merge x merge patches), the same for each t (spec/qwen3-vl.md 5.1).
struct GridOptions {
  std::int32_t t = 1, h = 0, w = 0;
  std::int32_t merge = 2;
};
TESSERA_API Tensor interpolate_positions(Graph& g, const Operand& table, const GridOptions& grid);

// ---- attention ----
//
// y[t, h] = sum_s softmax_s(scale * q[t, h] . k[s, g]) v[s, g] with g = h / (H / G). The matrix of scores is
// never stored whole: keys pass in fixed blocks with a running maximum and sum, so a row of y does not depend
// on the other rows computed with it. d is at most 256.

// Over a cache: q [T, H, d], k and v [C, G, d], caches as append_rows writes them, past i32 [1] -> [T, H, d].
// Row t attends to cache rows 0 .. past[0] + t. One row alone is rounded otherwise than beside others: its
// keys are cut into blocks that threads share. With a narrower cache than f32 kernels may round operands to
// bf16, those of one row over bf16 only; over q8_0 that row's query to 14 bits and weights to 15.
TESSERA_API Tensor causal_attention(Graph& g, const Operand& q, const Operand& k, const Operand& v,
                                    const Operand& past, float scale);
// Inside segments of `segment` consecutive rows: q, k, v [P, H, d], P a multiple of segment -> [P, H, d].
// Kernels may round q, k, v and weights to bf16 (ops/attention/kernels.h).
TESSERA_API Tensor segment_attention(Graph& g, const Operand& q, const Operand& k, const Operand& v,
                                     std::int64_t segment, float scale);

}  // namespace tessera::ops
