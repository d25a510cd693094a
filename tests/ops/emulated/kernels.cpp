// Compiled like the emulated files with tessera renamed: what is called tessera here is theirs.
#include "tests/ops/emulated/kernels.h"

#include <cstring>
#include <vector>

#include "ops/matmul/kernels.h"

namespace emulated {
namespace {

namespace kernels = tessera::ops;

template <auto function>
void run(const void* bytes) noexcept {
  kernels::MatmulTile tile;
  std::memcpy(&tile, bytes, sizeof tile);
  function(tile);
}

template <const kernels::MatmulTiling& tiling>
std::size_t workspace(std::int64_t rows, std::int64_t columns, std::int64_t k) {
  return tiling.workspace({rows, columns, k});
}

// Rows of other levels run on every machine that the suite runs on, or have nothing to emulate.
#define TESSERA_KERNEL(level, function, format, takes, tiling) TESSERA_ROW_##level(function, format, tiling)
#define TESSERA_ROW(level, base, function, format, tiling) \
  {#level, #base, #function, #format, workspace<kernels::tiling>, run<kernels::function>},
#define TESSERA_ROW_kAvxVnni(...) TESSERA_ROW(kAvxVnni, kAvx2, __VA_ARGS__)
#define TESSERA_ROW_kAvx512Vnni(...) TESSERA_ROW(kAvx512Vnni, kAvx512, __VA_ARGS__)
#define TESSERA_ROW_kAmx(...) TESSERA_ROW(kAmx, kAvx512, __VA_ARGS__)
#define TESSERA_ROW_kAvx512(...)
#define TESSERA_ROW_kAvx2(...)
#define TESSERA_ROW_kScalar(...)
const std::vector<Kernel> kMatmul{
#include "ops/matmul/kernels.inc"
};
#undef TESSERA_KERNEL

}  // namespace

std::span<const Kernel> matmul_kernels() { return kMatmul; }

}  // namespace emulated
