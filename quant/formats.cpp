#include "quant/formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "quant/fit/kernels.h"
#include "quant/plain.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace tessera::quant {
namespace {

using KernelsFn = FitKernels (*)() noexcept;

template <typename Block>
concept Searched = requires(const FitKernels& kernels, const float* x, Block* block) {
  search(kernels, x, x, block);
};

template <typename Block>
void encode_block(const FitKernels& kernels, const float* x, Block* block) {
  if constexpr (requires { encode(kernels, x, block); }) {
    encode(kernels, x, block);
  } else {
    encode(x, block);
  }
}

template <typename Block>
void decode_row(const std::uint8_t* bytes, std::int64_t n, float* x) {
  for (std::int64_t i = 0; i < n; i += Block::kElems, bytes += sizeof(Block)) {
    Block block;
    std::memcpy(&block, bytes, sizeof block);
    decode(block, x + i);
  }
}

template <typename Block, KernelsFn kernels_of>
void encode_row(const float* x, std::int64_t n, std::uint8_t* bytes) {
  const FitKernels kernels = kernels_of();
  for (std::int64_t i = 0; i < n; i += Block::kElems, bytes += sizeof(Block)) {
    Block block;
    encode_block(kernels, x + i, &block);
    std::memcpy(bytes, &block, sizeof block);
  }
}

// The weights of a block, scaled to a largest of 1.
void scale_weights(const float* importance, int n, float* w) {
  const float largest = importance ? *std::max_element(importance, importance + n) : 0;
  if (!(largest > 0)) {
    std::fill_n(w, n, 1.0f);
    return;
  }
  for (int l = 0; l < n; ++l) w[l] = importance[l] / largest;
}

template <typename Block>
double error_of(const Block& block, const float* x, const float* w) {
  float decoded[Block::kElems];
  decode(block, decoded);
  double sum = 0;
  for (int l = 0; l < Block::kElems; ++l) {
    const double rest = static_cast<double>(x[l]) - decoded[l];
    sum += w[l] * rest * rest;
  }
  return sum;
}

template <typename Block, KernelsFn kernels_of>
void encode_row_best(const float* x, const float* importance, std::int64_t n, std::uint8_t* bytes) {
  if constexpr (!Searched<Block>) {
    encode_row<Block, kernels_of>(x, n, bytes);
  } else {
    const FitKernels kernels = kernels_of();
    for (std::int64_t i = 0; i < n; i += Block::kElems, bytes += sizeof(Block)) {
      float w[Block::kElems];
      scale_weights(importance ? importance + i : nullptr, Block::kElems, w);
      Block best, other;
      encode_block(kernels, x + i, &best);
      const double error = error_of(best, x + i, w);
      if (std::isfinite(error) && error > 0) {
        search(kernels, x + i, w, &other);
        if (error_of(other, x + i, w) < error) best = other;
      }
      std::memcpy(bytes, &best, sizeof best);
    }
  }
}

template <KernelsFn kernels_of>
constexpr Format kTable[] = {
#define TESSERA_FORMAT(id, block) \
  {DType::id, decode_row<block>, encode_row<block, kernels_of>, encode_row_best<block, kernels_of>},
#include "quant/formats.inc"
#undef TESSERA_FORMAT
};

struct Level {
  IsaLevel level;
  std::span<const Format> formats;
};
constexpr Level kLevels[] = {
#define TESSERA_KERNEL(level, function) {IsaLevel::level, kTable<function>},
#include "quant/fit/kernels.inc"
#undef TESSERA_KERNEL
};

}  // namespace

const Format* find_format(DType dtype, const Cpu& cpu) {
  for (const Level& row : kLevels) {
    if (!cpu.has(row.level)) continue;
    for (const Format& format : row.formats) {
      if (format.dtype == dtype) return &format;
    }
  }
  return nullptr;
}

}  // namespace tessera::quant
