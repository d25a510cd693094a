#include <algorithm>
#include <type_traits>

#include "ops/attention/kernels.h"
#include "ops/cache.h"
#include "ops/op_util.h"

namespace tessera::ops {
namespace {

struct CausalParams {
  float scale;
};

struct MergeParams {
  std::int64_t rows, dim;  // of the cache
};

struct SegmentParams {
  std::int64_t segment;
  double scale;
};

// Blocks of keys that `rows` rows of a cache make, and what is kept of each head for all of them: dwords.
constexpr std::int64_t decode_blocks(std::int64_t rows) { return (rows + kDecodeKeys - 1) / kDecodeKeys; }
constexpr std::int64_t decoded_dwords(std::int64_t rows, std::int64_t dim) {
  return decode_blocks(rows) * decode_partial_floats(dim);
}

void check_head_dim(const TensorDesc& q) {
  if (q.dtype != DType::kF32 || q.shape.rank() != 3 || q.shape[2] < 1 || q.shape[2] > kAttentionMaxDim) {
    reject("q is " + describe(q) + ", expected f32[T, H, d] with d from 1 to " +
           std::to_string(kAttentionMaxDim));
  }
}

TensorDesc infer_causal(const OpArgs& args) {
  const TensorDesc &q = args.inputs[0], &k = args.inputs[1], &v = args.inputs[2], &past = args.inputs[3];
  check_head_dim(q);
  if (!is_cache(k, CachePart::kKeys) || k.shape[1] < 1 || q.shape[1] % k.shape[1] != 0 ||
      k.shape[2] != q.shape[2]) {
    reject("k is " + describe(k) + ", q is " + describe(q) + ", expected " + kCacheTypes +
           ", and H a multiple of G");
  }
  if (!is_cache(v, CachePart::kValues) || v.dtype != k.dtype || v.shape != k.shape) {
    reject("v is " + describe(v) + ", k is " + describe(k) + ", expected " + kCacheTypes);
  }
  if (past != TensorDesc::dense(DType::kI32, {1})) reject("past is " + describe(past) + ", expected i32[1]");
  return TensorDesc::dense(DType::kF32, q.shape);
}

// What the kernels keep of each block of keys, bits of f32, as i32 [1, H, ...]: what is not seen stays unset.
TensorDesc infer_decode(const OpArgs& args) {
  infer_causal(args);
  const Shape& q = args.inputs[0].shape;
  return TensorDesc::dense(DType::kI32, {1, q[1], decoded_dwords(args.inputs[1].shape[0], q[2])});
}

TensorDesc infer_merge(const OpArgs& args) {
  return TensorDesc::dense(DType::kF32, {1, args.inputs[0].shape[1], args.get<MergeParams>().dim});
}

TensorDesc infer_segment(const OpArgs& args) {
  const TensorDesc &q = args.inputs[0], &k = args.inputs[1], &v = args.inputs[2];
  const std::int64_t segment = args.get<SegmentParams>().segment;
  check_head_dim(q);
  for (const TensorDesc* other : {&k, &v}) {
    if (other->dtype != DType::kF32 || other->shape != q.shape) {
      reject((other == &k ? "k is " : "v is ") + describe(*other) + ", q is " + describe(q));
    }
  }
  if (segment < 1 || q.shape[0] % segment != 0) {
    reject("segment is " + std::to_string(segment) + ", expected a divisor of the rows of q, " + describe(q));
  }
  return TensorDesc::dense(DType::kF32, q.shape);
}

// How the rows that read the same keys, `positions` positions of each of `heads` query heads, are cut into
// blocks: as many heads as fit together, then as few and as even runs of positions as fit beside them.
struct Cut {
  std::int64_t positions, heads;
  std::int64_t block_heads, head_blocks, block_positions, position_blocks;

  Cut(std::int64_t position_count, std::int64_t head_count, std::int64_t dim)
      : positions(position_count), heads(head_count) {
    const std::int64_t rows = attention_rows(dim);
    block_heads = std::clamp<std::int64_t>(heads, 1, rows);
    head_blocks = parts(heads, block_heads);
    position_blocks = parts(positions, rows / block_heads);
    block_positions = parts(positions, std::max<std::int64_t>(position_blocks, 1));
  }
  std::int64_t blocks() const { return head_blocks * position_blocks; }

 private:
  static std::int64_t parts(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }
};

// Where the rows of a cut begin in q and y, and where their keys do in k and v.
struct Origin {
  std::int64_t row, head, kv_head, key;
};

AttentionBlock block_of(const KernelArgs& args, const Cut& cut, const Origin& from, std::int64_t index) {
  const TensorView &q = args.inputs[0], &k = args.inputs[1], &v = args.inputs[2], &y = args.output;
  const std::int64_t first = index % cut.position_blocks * cut.block_positions;
  const std::int64_t first_head = index / cut.position_blocks * cut.block_heads;
  const std::int64_t row = from.row + first, head = from.head + first_head;
  AttentionBlock block{};
  block.q = reinterpret_cast<const float*>(q.data + row * q.strides[0] + head * q.strides[1]);
  block.y = reinterpret_cast<float*>(y.data + row * y.strides[0] + head * y.strides[1]);
  block.k = k.data + from.key * k.strides[0] + from.kv_head * k.strides[1];
  block.v = v.data + from.key * v.strides[0] + from.kv_head * v.strides[1];
  block.q_stride = q.strides[0] / 4;
  block.q_head_stride = q.strides[1] / 4;
  block.y_stride = y.strides[0] / 4;
  block.y_head_stride = y.strides[1] / 4;
  block.k_stride = k.strides[0];
  block.v_stride = v.strides[0];
  block.positions = std::min(cut.block_positions, cut.positions - first);
  block.heads = std::min(cut.block_heads, cut.heads - first_head);
  block.dim = q.shape[2];
  block.visible = first;  // positions before the block's own
  block.workspace = reinterpret_cast<float*>(args.workspace);
  return block;
}

Cut causal_cut(const TensorDesc& q, const TensorDesc& k) {
  return {q.shape[0], q.shape[1] / k.shape[1], q.shape[2]};
}

template <auto kernel>
void run_causal(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const Cut cut = causal_cut(args.inputs[0], args.inputs[1]);
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t kv_head = task / cut.blocks();
    AttentionBlock block = block_of(args, cut, {0, kv_head * cut.heads, kv_head, 0}, task % cut.blocks());
    block.visible += *args.inputs[3].as<std::int32_t>() + std::int64_t{1};
    block.growth = 1;
    block.keys = args.inputs[1].shape[0];
    block.scale = args.get<CausalParams>().scale;
    kernel(block);
  }
}

template <auto kernel>
void run_segment(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const auto& params = args.get<SegmentParams>();
  const Shape& shape = args.inputs[0].shape;
  const Cut cut(params.segment, 1, shape[2]);
  const std::int64_t heads = shape[1];
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t head = task / cut.blocks() % heads;
    const std::int64_t row = task / cut.blocks() / heads * params.segment;
    AttentionBlock block = block_of(args, cut, {row, head, head, row}, task % cut.blocks());
    block.visible = block.keys = params.segment;
    block.scale = static_cast<float>(params.scale);
    kernel(SegmentBlock{block});
  }
}

// Rows of a cache that its row `past` and those before make.
std::int64_t seen_rows(const TensorView& past, std::int64_t rows) {
  return std::clamp<std::int64_t>(*past.as<std::int32_t>() + std::int64_t{1}, 0, rows);
}

// There are as many tasks as the whole cache has blocks; runs of those that are seen are dealt out evenly
// among them. Runs are as long as can be with enough of them for many threads.
constexpr std::int64_t kWantedRuns = 32;

template <auto kernel>
void run_decode(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView &q = args.inputs[0], &k = args.inputs[1], &v = args.inputs[2];
  const std::int64_t seen = seen_rows(args.inputs[3], k.shape[0]), groups = k.shape[1];
  const std::int64_t blocks = decode_blocks(seen), tasks = decode_blocks(k.shape[0]) * groups;
  DecodeRun run{};
  run.q_head_stride = q.strides[1] / 4;
  run.k_stride = k.strides[0];
  run.v_stride = v.strides[0];
  run.heads = q.shape[1] / groups;
  run.dim = q.shape[2];
  run.scale = args.get<CausalParams>().scale;
  run.partial_stride = decoded_dwords(k.shape[0], run.dim);
  run.workspace = reinterpret_cast<float*>(args.workspace);
  run.bytes_ahead = args.bytes_ahead;
  const std::int64_t run_blocks =
      std::clamp<std::int64_t>(blocks * groups / kWantedRuns, 1, kDecodeRunKeys / kDecodeKeys);
  const std::int64_t runs = (blocks + run_blocks - 1) / run_blocks, last = runs * groups * end / tasks;
  for (std::int64_t i = runs * groups * begin / tasks; i < last; ++i) {
    const std::int64_t group = i / runs, block = i % runs * run_blocks, head = group * run.heads;
    const std::int64_t key = block * kDecodeKeys;
    run.q = reinterpret_cast<const float*>(q.data + head * q.strides[1]);
    run.k = k.data + key * k.strides[0] + group * k.strides[1];
    run.v = v.data + key * v.strides[0] + group * v.strides[1];
    run.keys = std::min(run_blocks * kDecodeKeys, seen - key);
    run.partial =
        args.output.as<float>() + head * run.partial_stride + block * decode_partial_floats(run.dim);
    kernel(run);
  }
}

template <auto kernel>
void run_merge(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& y = args.output;
  const auto [rows, dim] = args.get<MergeParams>();
  const std::int64_t stride = decoded_dwords(rows, dim);
  for (std::int64_t head = begin; head < end; ++head) {
    kernel({.partials = args.inputs[0].as<const float>() + head * stride,
            .stride = decode_partial_floats(dim),
            .blocks = decode_blocks(seen_rows(args.inputs[1], rows)),
            .dim = dim,
            .y = y.as<float>() + head * dim,
            .factors = reinterpret_cast<float*>(args.workspace)});
  }
}

// The steps that a kernel can do.
struct Runs {
  KernelFn causal, segment, decode, merge;
};

template <auto kernel>
constexpr Runs runs_of() {
  if constexpr (std::is_invocable_v<decltype(kernel), const AttentionBlock&>) {
    return {run_causal<kernel>, run_segment<kernel>, nullptr, nullptr};
  } else if constexpr (std::is_invocable_v<decltype(kernel), const SegmentBlock&>) {
    return {nullptr, run_segment<kernel>, nullptr, nullptr};
  } else if constexpr (std::is_invocable_v<decltype(kernel), const DecodeRun&>) {
    return {nullptr, nullptr, run_decode<kernel>, nullptr};
  } else {
    return {nullptr, nullptr, nullptr, run_merge<kernel>};
  }
}

struct AttentionRow {
  IsaLevel level;
  DType cache;
  const char* name;
  Runs runs;
};

constexpr AttentionRow kTable[] = {
#define TESSERA_KERNEL(level, function, Work, cache) \
  {IsaLevel::level, DType::cache, #function, runs_of<function>()},
#include "ops/attention/kernels.inc"
#undef TESSERA_KERNEL
};

const AttentionRow& best_row(const Cpu& cpu, DType cache, KernelFn Runs::*step) {
  const AttentionRow* row = kTable;
  while (row->cache != cache || !(row->runs.*step) || !cpu.has(row->level)) ++row;
  return *row;
}

std::size_t workspace_bytes(const OpArgs& args) {
  return static_cast<std::size_t>(attention_workspace_floats(args.output.shape[2])) * sizeof(float);
}

OpPlan plan_causal(const OpArgs& args, const Cpu& cpu) {
  const TensorDesc &q = args.inputs[0], &k = args.inputs[1];
  const AttentionRow& row = best_row(cpu, k.dtype, &Runs::causal);
  return {.run = row.runs.causal,
          .kernel = row.name,
          .tasks = k.shape[1] * causal_cut(q, k).blocks(),
          .workspace_bytes = workspace_bytes(args),
          .in_place_inputs = 1};
}

OpPlan plan_decode(const OpArgs& args, const Cpu& cpu) {
  const TensorDesc& k = args.inputs[1];
  const AttentionRow& row = best_row(cpu, k.dtype, &Runs::decode);
  return {.run = row.runs.decode,
          .kernel = row.name,
          .bytes_ahead = cpu.bytes_ahead(),
          .tasks = decode_blocks(k.shape[0]) * k.shape[1],
          .workspace_bytes = static_cast<std::size_t>(decode_workspace_floats(k.shape[2])) * sizeof(float)};
}

OpPlan plan_merge(const OpArgs& args, const Cpu& cpu) {
  const AttentionRow& row = best_row(cpu, DType::kF32, &Runs::merge);
  const auto blocks = static_cast<std::size_t>(decode_blocks(args.get<MergeParams>().rows));
  return {.run = row.runs.merge,
          .kernel = row.name,
          .tasks = args.output.shape[1],
          .workspace_bytes = blocks * sizeof(float)};
}

OpPlan plan_segment(const OpArgs& args, const Cpu& cpu) {
  const Shape& shape = args.output.shape;
  const std::int64_t segment = args.get<SegmentParams>().segment;
  const AttentionRow& row = best_row(cpu, DType::kF32, &Runs::segment);
  return {.run = row.runs.segment,
          .kernel = row.name,
          .tasks = shape[0] / segment * shape[1] * Cut(segment, 1, shape[2]).blocks(),
          .workspace_bytes = workspace_bytes(args),
          .in_place_inputs = 1};
}

// Each row against `keys` keys, which are read once.
OpCost cost(const OpArgs& args, std::int64_t keys) {
  const TensorDesc& k = args.inputs[1];
  const auto outputs = static_cast<double>(args.inputs[0].shape.elements());
  const double cache = static_cast<double>(k.shape.elements()) * bytes_per_element(k.dtype);
  return {.bytes = 8 * outputs + 2 * cache, .flops = 4 * outputs * static_cast<double>(keys)};
}

// past is not known before the run: the whole cache is counted.
OpCost cost_causal(const OpArgs& args) { return cost(args, args.inputs[1].shape[0]); }
OpCost cost_segment(const OpArgs& args) { return cost(args, args.get<SegmentParams>().segment); }

// A pass over all partial results; how many there are is not known before the run either.
OpCost cost_merge(const OpArgs& args) {
  const auto partials = static_cast<double>(args.inputs[0].shape.elements());
  return {.bytes = 4 * partials, .flops = 2 * partials};
}

constexpr OpDef kCausal{"causal_attention", infer_causal, plan_causal, cost_causal};
constexpr OpDef kDecode{"causal_attention", infer_decode, plan_decode, cost_causal};
constexpr OpDef kMerge{"merge_attention", infer_merge, plan_merge, cost_merge};
constexpr OpDef kSegment{"segment_attention", infer_segment, plan_segment, cost_segment};

}  // namespace

Tensor causal_attention(Graph& g, const Operand& q, const Operand& k, const Operand& v, const Operand& past,
                        float scale) {
  const auto shape = [&](const Operand& x) { return x.view() ? x.view()->shape : g.shape(x.tensor()); };
  const Shape queries = shape(q), cache = shape(k);
  if (queries.rank() == 3 && queries[0] == 1) {
    const Tensor decoded = g.append(kDecode, {q, k, v, past}, CausalParams{scale});
    return g.append(kMerge, {decoded, past}, MergeParams{cache[0], cache[2]});
  }
  return g.append(kCausal, {q, k, v, past}, CausalParams{scale});
}

Tensor segment_attention(Graph& g, const Operand& q, const Operand& k, const Operand& v, std::int64_t segment,
                         float scale) {
  return g.append(kSegment, {q, k, v}, SegmentParams{segment, double{scale}});
}

}  // namespace tessera::ops
