// How an op becomes rows of bench_ops: one row for each level of this CPU at which it runs another kernel.
//
// A file of this folder describes each row's operands and how to build the op on them; the rest (graph, plan
// for the level, executor, memory, counters) is done here. Adding an op: a call of add_row in the file of its
// group.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/random_fill.h"
#include "bench/roofs.h"
#include "ops/ops.h"

namespace tessera::bench {

struct Setup {
  Cpu cpu;
  int threads = 1;
  Roofs roofs;
};

// Makes a row's operands. While rows are listed they have no memory, only what a plan looks at; they get it,
// filled, when the row runs, and lose it when the row ends.
class Operands {
 public:
  enum class Memory { kNone, kFilled };
  explicit Operands(Memory memory);

  // Dense, normally distributed.
  TensorView normal(DType dtype, const Shape& shape);
  // [n, k], laid out as models load it.
  TensorView weight(DType dtype, std::int64_t n, std::int64_t k);
  // [C, G, d], all rows filled.
  TensorView cache(DType dtype, ops::CachePart part, const Shape& shape);
  // i32, i-th element i * step % limit.
  TensorView indices(const Shape& shape, std::int32_t limit, std::int32_t step = 1);
  // u8, i-th sample i * 37 % 251.
  TensorView samples(const Shape& shape);
  // i32 [1].
  TensorView number(std::int32_t value);
  std::size_t bytes() const { return bytes_; }  // of all operands so far, filled or not

 private:
  TensorView place(DType dtype, const Shape& shape);
  TensorView blocks(DType dtype, std::int64_t n, std::int64_t k);  // as in a file

  Memory memory_;
  std::vector<RandomFill> random_;  // one, where there is memory
  std::vector<Buffer> buffers_;
  std::size_t bytes_ = 0;
};

struct OpRow {
  std::string name;  // "matmul/bf16/rows:1/9728x2560"; the level is added
  std::function<Tensor(Graph&, Operands&)> build;

  // kCold: operands come from memory, as weights and caches do in a model: the row runs over as many copies
  // of the op as caches cannot hold, and reports the time of one. kHot: the same operands every time.
  enum class Caches { kHot, kCold } caches = Caches::kHot;
  // kVector leaves out the scalar reference, where it would take minutes.
  enum class Levels { kAll, kVector } levels = Levels::kAll;
  std::int64_t past = 0;  // rows in the cache of causal attention, for its cost
};

// Registers the rows of `row` with Google Benchmark. Each has the plan's kernel as label and the counters
// GB/s and GFLOP/s, of the op's own cost, and %bw and %flops, their share of the limits measured at the
// start. The label is that of the step with the most arithmetic: a product with block weights stands behind
// the quantization of its activations, the counters are for both. The arithmetic limit is that of the unit of
// the kernel's level: f32 multiply-add up to AVX-512, int8 dot products, bf16 dot products, bf16 tiles. Where
// operands stay in the cache, %bw may exceed 100. The column CPU counts all copies of a cold row.
void add_row(const Setup& setup, const OpRow& row);

void add_attention_rows(const Setup& setup);
void add_elementwise_rows(const Setup& setup);
// What a decoded token costs before its first step: the graph, and its plan from the cache.
void add_graph_rows(const Setup& setup);
void add_matmul_rows(const Setup& setup);
void add_move_rows(const Setup& setup);
void add_normalize_rows(const Setup& setup);
void add_pictures_rows(const Setup& setup);
void add_positions_rows(const Setup& setup);

// No op: the packing of weights, from memory to memory, at every level for which it is compiled. Counters:
// bytes a second, and their share of what memory copies.
void add_pack_rows(const Setup& setup);
// No op: the encoders, at every level for which they are compiled. Counters: weights a second on all threads,
// and what they cost.
void add_quantize_rows(const Setup& setup);

}  // namespace tessera::bench
