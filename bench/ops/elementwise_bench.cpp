#include "bench/ops/op_bench.h"

namespace tessera::bench {

void add_elementwise_rows(const Setup& setup) {
  add_row(setup, {.name = "add/512x2560", .build = [](Graph& g, Operands& o) {
                    const TensorView a = o.normal(DType::kF32, {512, 2560});
                    return ops::add(g, a, o.normal(DType::kF32, {512, 2560}));
                  }});
  for (const std::int64_t rows : {1, 512}) {
    add_row(setup,
            {.name = "silu_mul/" + std::to_string(rows) + "x9728", .build = [=](Graph& g, Operands& o) {
               const TensorView gate = o.normal(DType::kF32, {rows, 9728});
               return ops::silu_mul(g, gate, o.normal(DType::kF32, {rows, 9728}));
             }});
  }
  for (const ops::Gelu kind : {ops::Gelu::kTanh, ops::Gelu::kErf}) {
    const std::string name = kind == ops::Gelu::kTanh ? "tanh" : "erf";
    add_row(setup, {.name = "gelu/" + name + "/1024x4096", .build = [=](Graph& g, Operands& o) {
                      return ops::gelu(g, o.normal(DType::kF32, {1024, 4096}), kind);
                    }});
  }
}

}  // namespace tessera::bench
