#include "bench/ops/op_bench.h"

namespace tessera::bench {

void add_positions_rows(const Setup& setup) {
  add_row(setup, {.name = "rope_table/text/512", .build = [](Graph& g, Operands& o) {
                    return ops::rope_table(g, o.indices({3, 512}, 512),
                                           {.theta = 5e6,
                                            .head_dim = 128,
                                            .layout = ops::RopeLayout::kInterleaved,
                                            .sections = {24, 20, 20}});
                  }});
  add_row(setup, {.name = "rope_table/vision/1024", .build = [](Graph& g, Operands& o) {
                    return ops::rope_table(g, o.indices({2, 1024}, 32),
                                           {.theta = 1e4, .head_dim = 64, .layout = ops::RopeLayout::kGrid});
                  }});
  add_row(setup, {.name = "rope/512x32x128", .build = [](Graph& g, Operands& o) {
                    const TensorView x = o.normal(DType::kF32, {512, 32, 128});
                    return ops::rope(g, x, o.normal(DType::kF32, {512, 64, 2}));
                  }});
  // The learned table of 48 x 48, read for a picture of 512 x 512.
  add_row(setup, {.name = "interpolate_positions/f32/32x32x1024", .build = [](Graph& g, Operands& o) {
                    return ops::interpolate_positions(g, o.normal(DType::kF32, {2304, 1024}),
                                                      {.t = 1, .h = 32, .w = 32, .merge = 2});
                  }});
}

}  // namespace tessera::bench
