// Compiled like the emulated files with tessera renamed: what is called tessera here is theirs.
#include "tests/ops/emulated/kernels.h"

#include <cstring>
#include <vector>

#include "ops/attention/kernels.h"
#include "ops/matmul/kernels.h"

namespace emulated {
namespace {

namespace kernels = tessera::ops;

template <typename Work, auto function>
void run(const void* bytes) noexcept {
  Work work;
  std::memcpy(&work, bytes, sizeof work);
  function(work);
}

template <const kernels::MatmulTiling& tiling>
std::size_t workspace(std::int64_t rows, std::int64_t columns, std::int64_t k) {
  return tiling.workspace({rows, columns, k});
}

// Rows of other levels run on every machine that the suite runs on, or have nothing to emulate.
#define TESSERA_KERNEL(level, function, format, takes, tiling) TESSERA_ROW_##level(function, format, tiling)
#define TESSERA_ROW(level, base, function, format, tiling) \
  {{#level, #base, #function},                             \
   #format,                                                \
   workspace<kernels::tiling>,                             \
   run<kernels::MatmulTile, kernels::function>},
#define TESSERA_ROW_kAvxVnni(...) TESSERA_ROW(kAvxVnni, kAvx2, __VA_ARGS__)
#define TESSERA_ROW_kAvx512Vnni(...) TESSERA_ROW(kAvx512Vnni, kAvx512, __VA_ARGS__)
#define TESSERA_ROW_kAvx512Bf16(...) TESSERA_ROW(kAvx512Bf16, kAvx512, __VA_ARGS__)
#define TESSERA_ROW_kAmx(...) TESSERA_ROW(kAmx, kAvx512, __VA_ARGS__)
#define TESSERA_ROW_kAvx512(...)
#define TESSERA_ROW_kAvx2(...)
#define TESSERA_ROW_kScalar(...)
const std::vector<MatmulKernel> kMatmul{
#include "ops/matmul/kernels.inc"
};
#undef TESSERA_KERNEL
#undef TESSERA_ROW

#define TESSERA_KERNEL(level, function, Work, cache) TESSERA_ROW_##level(function, Work, cache)
#define TESSERA_ROW(level, base, function, Work, cache) \
  {{#level, #base, #function}, #Work, #cache, run<kernels::Work, kernels::function>},
const std::vector<AttentionKernel> kAttention{
#include "ops/attention/kernels.inc"
};
#undef TESSERA_KERNEL

}  // namespace

std::span<const MatmulKernel> matmul_kernels() { return kMatmul; }
std::span<const AttentionKernel> attention_kernels() { return kAttention; }

}  // namespace emulated
