#include "bench/ops/op_bench.h"

namespace tessera::bench {

void add_move_rows(const Setup& setup) {
  add_row(setup, {.name = "concat/256+256x2560", .build = [](Graph& g, Operands& o) {
                    const TensorView a = o.normal(DType::kF32, {256, 2560});
                    return ops::concat(g, a, o.normal(DType::kF32, {256, 2560}));
                  }});
  // Steps that are no divisor of the extents spread the rows over the whole table.
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    add_row(setup, {.name = "embedding/" + std::string(info(dtype).name) + "/512x2560",
                    .build = [=](Graph& g, Operands& o) {
                      const TensorView table = o.weight(dtype, 32768, 2560);
                      return ops::embedding(g, table, o.indices({512}, 32768, 7919));
                    }});
  }
  // A picture's 256 tokens among 512.
  add_row(setup, {.name = "scatter_rows/256-512x2560", .build = [](Graph& g, Operands& o) {
                    const TensorView x = o.normal(DType::kF32, {512, 2560});
                    const TensorView rows = o.normal(DType::kF32, {256, 2560});
                    return ops::scatter_rows(g, x, rows, o.indices({256}, 512));
                  }});
  add_row(setup, {.name = "scatter_add_rows/256-512x2560", .build = [](Graph& g, Operands& o) {
                    const TensorView x = o.normal(DType::kF32, {512, 2560});
                    const TensorView rows = o.normal(DType::kF32, {256, 2560});
                    return ops::scatter_add_rows(g, x, rows, o.indices({256}, 512));
                  }});
  const auto append = [&](DType dtype, ops::CachePart part, const std::string& name) {
    add_row(setup, {.name = "append_rows/" + name + "/512x8x128", .build = [=](Graph& g, Operands& o) {
                      const TensorView cache = o.cache(dtype, part, {4096, 8, 128});
                      const TensorView rows = o.normal(DType::kF32, {512, 8, 128});
                      return ops::append_rows(g, cache, rows, o.number(1024));
                    }});
  };
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    append(dtype, ops::CachePart::kKeys, std::string(info(dtype).name));
  }
  append(DType::kQ8_0, ops::CachePart::kKeys, "q8_0-keys");
  append(DType::kQ8_0, ops::CachePart::kValues, "q8_0-values");
}

}  // namespace tessera::bench
