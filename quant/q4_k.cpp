#include "quant/q4_k.h"

#include "quant/k_min.h"

namespace tessera::quant {
namespace {

void pack(const KMin& from, BlockQ4_K* to) {
  to->d = from.d;
  to->dmin = from.dmin;
  pack_scales(from.scale, from.min, to->scales);
  for (int p = 0; p < 4; ++p) {
    for (int l = 0; l < 32; ++l)
      to->qs[32 * p + l] = static_cast<std::uint8_t>(from.q[64 * p + l] | from.q[64 * p + 32 + l] << 4);
  }
}

}  // namespace

void decode(const BlockQ4_K& block, float* x) {
  KMin plain{block.d, block.dmin, {}, {}, {}};
  unpack_scales(block.scales, plain.scale, plain.min);
  for (int p = 0; p < 4; ++p) {
    for (int l = 0; l < 32; ++l) {
      plain.q[64 * p + l] = block.qs[32 * p + l] & 15;
      plain.q[64 * p + 32 + l] = block.qs[32 * p + l] >> 4;
    }
  }
  decode_k_min(plain, x);
}

void encode(const FitKernels& kernels, const float* x, BlockQ4_K* block) {
  pack(encode_k_min(kernels, x, {15, -1.0f, 20}), block);
}

void search(const FitKernels& kernels, const float* x, const float* w, BlockQ4_K* block) {
  pack(search_k_min(kernels, x, w, 15), block);
}

}  // namespace tessera::quant
