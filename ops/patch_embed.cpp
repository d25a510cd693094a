#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {

Tensor patch_embed(Graph& g, const Operand& patches, const TensorView& w, const Operand& bias) {
  if (w.shape.rank() < 2 || (w.layout == 0 && !w.is_dense())) {
    throw Error(ErrorCode::kUsage, "", "patch_embed",
                "w is " + describe(w) + ", expected a dense kernel [N, c, t, h, w] or its packed form");
  }
  if (w.layout != 0 || w.shape.rank() == 2) return matmul(g, patches, w, bias);
  std::int64_t k = 1;
  for (const std::int64_t extent : w.shape.dims().subspan(1)) k *= extent;
  return matmul(g, patches, TensorView(w.dtype, {w.shape[0], k}, w.data), bias);
}

}  // namespace tessera::ops
