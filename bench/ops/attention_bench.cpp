#include <cmath>

#include "bench/ops/op_bench.h"

namespace tessera::bench {
namespace {

// 32 query heads on 8 key/value heads of 128, as in the 4B and 8B text models.
OpRow causal(DType cache, std::int64_t rows, std::int64_t past) {
  OpRow row;
  row.build = [=](Graph& g, Operands& o) {
    constexpr std::int64_t kHeads = 32, kKvHeads = 8, kDim = 128;
    const TensorView q = o.normal(DType::kF32, {rows, kHeads, kDim});
    const TensorView k = o.cache(cache, ops::CachePart::kKeys, {past + rows, kKvHeads, kDim});
    const TensorView v = o.cache(cache, ops::CachePart::kValues, {past + rows, kKvHeads, kDim});
    return ops::causal_attention(g, q, k, v, o.number(static_cast<std::int32_t>(past)),
                                 1 / std::sqrt(static_cast<float>(kDim)));
  };
  row.past = past;
  return row;
}

}  // namespace

void add_attention_rows(const Setup& setup) {
  for (const DType cache : {DType::kBF16, DType::kF16, DType::kQ8_0, DType::kF32}) {
    const std::string type(info(cache).name);
    for (const std::int64_t rows : {512, 2048}) {
      OpRow prefill = causal(cache, rows, 0);
      prefill.name = "causal_attention/" + type + "/prefill:" + std::to_string(rows);
      prefill.levels = OpRow::Levels::kVector;
      add_row(setup, prefill);
    }
    for (const std::int64_t depth : {1024, 4096}) {
      OpRow decode = causal(cache, 1, depth - 1);
      decode.name = "causal_attention/" + type + "/decode:" + std::to_string(depth);
      decode.caches = OpRow::Caches::kCold;
      decode.levels = OpRow::Levels::kVector;
      add_row(setup, decode);
    }
  }
  // One picture of 1024 x 1024; widths of a head of the 2B and 4B, of the 8B tower, and of ViT-H.
  for (const std::int64_t dim : {64, 72, 80}) {
    add_row(setup, {.name = "segment_attention/4096x16x" + std::to_string(dim),
                    .build =
                        [=](Graph& g, Operands& o) {
                          const Shape shape{4096, 16, dim};
                          const TensorView q = o.normal(DType::kF32, shape);
                          const TensorView k = o.normal(DType::kF32, shape);
                          return ops::segment_attention(g, q, k, o.normal(DType::kF32, shape), shape[0],
                                                        1 / std::sqrt(static_cast<float>(dim)));
                        },
                    .levels = OpRow::Levels::kVector});
  }
}

}  // namespace tessera::bench
