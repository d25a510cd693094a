#include "bench/ops/op_bench.h"

namespace tessera::bench {

void add_normalize_rows(const Setup& setup) {
  for (const std::int64_t rows : {1, 512}) {
    add_row(
        setup,
        {.name = "rms_norm/" + std::to_string(rows) + "x2560", .build = [=](Graph& g, Operands& o) {
           return ops::rms_norm(g, o.normal(DType::kF32, {rows, 2560}), o.normal(DType::kF32, {2560}), {});
         }});
  }
  // Of the heads of q, 512 tokens.
  add_row(setup,
          {.name = "rms_norm/512x32x128", .build = [](Graph& g, Operands& o) {
             return ops::rms_norm(g, o.normal(DType::kF32, {512, 32, 128}), o.normal(DType::kF32, {128}), {});
           }});
  add_row(setup, {.name = "layer_norm/1024x1024", .build = [](Graph& g, Operands& o) {
                    const TensorView x = o.normal(DType::kF32, {1024, 1024});
                    const TensorView weight = o.normal(DType::kF32, {1024});
                    return ops::layer_norm(g, x, weight, o.normal(DType::kF32, {1024}), {});
                  }});
  add_row(setup, {.name = "softmax/64x4096", .build = [](Graph& g, Operands& o) {
                    return ops::softmax(g, o.normal(DType::kF32, {64, 4096}));
                  }});
  // The vocabulary.
  add_row(setup, {.name = "top_k/1x151936/k:20", .build = [](Graph& g, Operands& o) {
                    return ops::top_k(g, o.normal(DType::kF32, {1, 151936}), 20);
                  }});
}

}  // namespace tessera::bench
