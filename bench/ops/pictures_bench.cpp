#include "bench/ops/op_bench.h"

namespace tessera::bench {

void add_pictures_rows(const Setup& setup) {
  // A photo of 12 megapixels halved, one side after the other, and what a picture of 4096 tokens becomes.
  add_row(setup, {.name = "resample/along_rows/3000x4000/2000", .build = [](Graph& g, Operands& o) {
                    return ops::resample(g, o.samples({3000, 4000, 3}), 1, o.indices({2000}, 3991, 2),
                                         o.indices({2000, 9}, 1 << 19, 7919));
                  }});
  add_row(setup, {.name = "resample/across_rows/3000x2000/1500", .build = [](Graph& g, Operands& o) {
                    return ops::resample(g, o.samples({3000, 2000, 3}), 0, o.indices({1500}, 2991, 2),
                                         o.indices({1500, 9}, 1 << 19, 7919));
                  }});
  add_row(setup,
          {.name = "image_patches/2048x2048", .build = [](Graph& g, Operands& o) {
             return ops::image_patches(g, o.samples({1, 2048, 2048, 3}), o.normal(DType::kF32, {3, 256}), {});
           }});
}

}  // namespace tessera::bench
