#include "quant/q5_k.h"

#include "quant/k_min.h"

namespace tessera::quant {
namespace {

void pack(const KMin& from, BlockQ5_K* to) {
  to->d = from.d;
  to->dmin = from.dmin;
  pack_scales(from.scale, from.min, to->scales);
  for (int l = 0; l < 32; ++l) {
    int fifth = 0;
    for (int j = 0; j < 8; ++j) fifth |= (from.q[32 * j + l] >> 4) << j;
    to->qh[l] = static_cast<std::uint8_t>(fifth);
    for (int p = 0; p < 4; ++p) {
      const int low = from.q[64 * p + l] & 15, high = from.q[64 * p + 32 + l] & 15;
      to->qs[32 * p + l] = static_cast<std::uint8_t>(low | high << 4);
    }
  }
}

}  // namespace

void decode(const BlockQ5_K& block, float* x) {
  KMin plain{block.d, block.dmin, {}, {}, {}};
  unpack_scales(block.scales, plain.scale, plain.min);
  for (int j = 0; j < 8; ++j) {
    for (int l = 0; l < 32; ++l) {
      const int byte = block.qs[j / 2 * 32 + l], low = j % 2 ? byte >> 4 : byte & 15;
      plain.q[32 * j + l] = static_cast<std::uint8_t>(low | (block.qh[l] >> j & 1) << 4);
    }
  }
  decode_k_min(plain, x);
}

void encode(const FitKernels& kernels, const float* x, BlockQ5_K* block) {
  pack(encode_k_min(kernels, x, {31, -0.5f, 15}), block);
}

void search(const FitKernels& kernels, const float* x, const float* w, BlockQ5_K* block) {
  pack(search_k_min(kernels, x, w, 31), block);
}

}  // namespace tessera::quant
