#include "bench/ops/op_bench.h"
#include "ops/quantize_rows/quantize_rows.h"

namespace tessera::bench {

void add_matmul_rows(const Setup& setup) {
  struct Extents {
    std::int64_t n, k;
  };
  // o_proj-like and gate_proj of the 4B text model, fc2 of its vision tower.
  constexpr Extents kWeights[] = {{2560, 2560}, {9728, 2560}, {1024, 4096}};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                            DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    for (const std::int64_t rows : {1, 16, 512}) {
      for (const auto [n, k] : kWeights) {
        OpRow row;
        row.name = "matmul/" + std::string(info(dtype).name) + "/rows:" + std::to_string(rows) + "/" +
                   std::to_string(n) + "x" + std::to_string(k);
        row.build = [=](Graph& g, Operands& o) {
          return ops::matmul(g, o.normal(DType::kF32, {rows, k}), o.weight(dtype, n, k));
        };
        // With 512 rows arithmetic takes longer than reading the weight once, wherever it lies.
        row.caches = rows < 512 ? OpRow::Caches::kCold : OpRow::Caches::kHot;
        row.levels = OpRow::Levels::kVector;
        add_row(setup, row);
      }
    }
  }
  add_row(setup, {.name = "quantize_rows/512x9728", .build = [](Graph& g, Operands& o) {
                    return ops::quantize_rows(g, g.constant(o.normal(DType::kF32, {512, 9728})));
                  }});
  // fc1 and fc2 of the vision tower on one picture of 512 x 512.
  add_row(setup, {.name = "matmul_gelu/bf16/rows:1024/4096x1024",
                  .build =
                      [](Graph& g, Operands& o) {
                        return ops::matmul(g, o.normal(DType::kF32, {1024, 1024}),
                                           o.weight(DType::kBF16, 4096, 1024), o.normal(DType::kF32, {4096}),
                                           ops::Gelu::kTanh);
                      },
                  .levels = OpRow::Levels::kVector});
  add_row(setup, {.name = "matmul_add/bf16/rows:1024/1024x4096",
                  .build =
                      [](Graph& g, Operands& o) {
                        return ops::matmul_add(
                            g, o.normal(DType::kF32, {1024, 1024}), o.normal(DType::kF32, {1024, 4096}),
                            o.weight(DType::kBF16, 1024, 4096), o.normal(DType::kF32, {1024}));
                      },
                  .levels = OpRow::Levels::kVector});
  // gate_proj and up_proj of the 4B text model.
  add_row(setup, {.name = "matmul_silu_mul/q4_0/rows:512/9728x2560",
                  .build =
                      [](Graph& g, Operands& o) {
                        const TensorView next = o.weight(DType::kQ4_0, 32, 9728);
                        return ops::matmul_silu_mul(g, o.normal(DType::kF32, {512, 2560}),
                                                    o.weight(DType::kQ4_0, 9728, 2560),
                                                    o.weight(DType::kQ4_0, 9728, 2560), next);
                      },
                  .levels = OpRow::Levels::kVector});
  add_row(setup, {.name = "patch_embed/bf16/1024x1536",
                  .build =
                      [](Graph& g, Operands& o) {
                        return ops::patch_embed(g, o.normal(DType::kF32, {1024, 1536}),
                                                o.weight(DType::kBF16, 1024, 1536),
                                                o.normal(DType::kF32, {1024}));
                      },
                  .levels = OpRow::Levels::kVector});
}

}  // namespace tessera::bench
