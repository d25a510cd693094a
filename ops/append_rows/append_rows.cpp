#include <cstring>

#include "ops/append_rows/kernels.h"
#include "ops/cache.h"
#include "ops/cache_tiles.h"
#include "ops/kernel_row.h"
#include "ops/op_util.h"
#include "quant/q8_0.h"

namespace tessera::ops {
namespace {

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &cache = args.inputs[0], &rows = args.inputs[1], &past = args.inputs[2];
  if (!is_cache(cache, CachePart::kKeys) && !is_cache(cache, CachePart::kValues)) {
    reject("cache is " + describe(cache) + ", expected " + kCacheTypes);
  }
  if (rows.dtype != DType::kF32 || rows.shape.rank() != 3 || rows.shape[1] != cache.shape[1] ||
      rows.shape[2] != cache.shape[2]) {
    reject("rows is " + describe(rows) + ", cache is " + describe(cache));
  }
  if (past != TensorDesc::dense(DType::kI32, {1})) reject("past is " + describe(past) + ", expected i32[1]");
  return cache;
}

// Calls write(x, row of the cache, head) for each vector x of rows [begin, end) that the cache has room for.
template <typename Write>
void for_each_vector(const KernelArgs& args, std::int64_t begin, std::int64_t end, Write write) {
  const TensorView& rows = args.inputs[1];
  const std::int64_t past = *args.inputs[2].as<std::int32_t>();
  for (std::int64_t t = begin; t < end; ++t) {
    if (past + t < 0 || past + t >= args.output.shape[0]) continue;
    for (std::int64_t head = 0; head < rows.shape[1]; ++head) {
      write(reinterpret_cast<const float*>(rows.data + t * rows.strides[0] + head * rows.strides[1]),
            past + t, head);
    }
  }
}

template <auto kernel>
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& cache = args.output;
  for_each_vector(args, begin, end, [&](const float* x, std::int64_t row, std::int64_t head) {
    kernel(x, cache.shape[2], cache.data + row * cache.strides[0] + head * cache.strides[1]);
  });
}

void place_key(const quant::BlockQ8_0& block, std::int64_t r, std::int64_t dim, std::byte* tile) {
  for (std::int64_t i = 0; i < kCacheBlock; i += 4) {
    std::uint32_t codes;
    std::memcpy(&codes, block.qs + i, sizeof codes);
    codes ^= 0x80808080;
    std::memcpy(tile + key_code_at(r, dim + i), &codes, sizeof codes);
  }
}

// Threads write neighbouring rows: a byte at a time, so that each writes its own.
void place_value(const quant::BlockQ8_0& block, std::int64_t r, std::int64_t dim, std::byte* tile) {
  std::byte* codes = tile + value_code_at(r, dim);
  constexpr std::int64_t kNext = value_code_at(0, 1);
  for (std::int64_t i = 0; i < kCacheBlock; ++i) codes[i * kNext] = static_cast<std::byte>(block.qs[i]);
}

template <auto kernel>
void run_tiles(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const TensorView& cache = args.output;
  const bool keys = cache.layout == static_cast<std::uint8_t>(CacheLayout::kKeyTiles);
  const std::int64_t width = cache.shape[2];
  for_each_vector(args, begin, end, [&](const float* x, std::int64_t row, std::int64_t head) {
    const std::int64_t r = row % kCacheTileRows;
    std::byte* tile = cache.data + (row - r) * cache.strides[0] + head * cache.strides[1];
    for (std::int64_t dim = 0; dim < width; dim += kCacheBlock) {
      quant::BlockQ8_0 block;
      kernel(x + dim, kCacheBlock, reinterpret_cast<std::byte*>(&block));
      std::memcpy(tile + cache_scale_at(width, r, dim), &block.d, sizeof block.d);
      keys ? place_key(block, r, dim, tile) : place_value(block, r, dim, tile);
    }
  });
}

template <DType cache, auto kernel>
constexpr KernelFn run_over() {
  if constexpr (cache == DType::kQ8_0) return run_tiles<kernel>;
  return run<kernel>;
}

struct AppendRow {
  DType cache;
  KernelRow row;
};

constexpr AppendRow kTable[] = {
#define TESSERA_KERNEL(level, function, cache) \
  {DType::cache, {IsaLevel::level, #function, run_over<DType::cache, function>()}},
#include "ops/append_rows/kernels.inc"
#undef TESSERA_KERNEL
};

OpPlan plan(const OpArgs& args, const Cpu& cpu) {
  const AppendRow* best = kTable;
  while (best->cache != args.output.dtype || !cpu.has(best->row.level)) ++best;
  return {.run = best->row.run, .kernel = best->row.name, .tasks = args.inputs[1].shape[0]};
}

OpCost cost(const OpArgs& args) {
  const auto n = static_cast<double>(args.inputs[1].shape.elements());
  return {.bytes = n * (4 + bytes_per_element(args.output.dtype)), .flops = 0};
}

constexpr OpDef kAppendRows{
    .name = "append_rows", .infer = infer, .plan = plan, .cost = cost, .writes_input = 0};

}  // namespace

Tensor append_rows(Graph& g, const Operand& cache, const Operand& rows, const Operand& past) {
  return g.append(kAppendRows, {cache, rows, past});
}

}  // namespace tessera::ops
