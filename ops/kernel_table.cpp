#include "ops/kernel_table.h"

#include "ops/matmul/kernels.h"

namespace tessera::ops {
namespace {

// ".../ops/FOLDER/kernels.inc" -> "FOLDER".
constexpr std::string_view folder_of(std::string_view path) {
  path.remove_suffix(path.size() - path.rfind('/'));
  return path.substr(path.rfind('/') + 1);
}

// Inside an included list, __FILE__ is that list: the folder's name need not be repeated.
#define TESSERA_KERNEL(level, function, ...) {folder_of(__FILE__), #function, IsaLevel::level},
constexpr KernelListing kTable[] = {
#include "ops/append_rows/kernels.inc"
#include "ops/attention/kernels.inc"
#include "ops/gelu/kernels.inc"
#include "ops/layer_norm/kernels.inc"
#include "ops/matmul/kernels.inc"
#include "ops/pack_panel/kernels.inc"
#include "ops/quantize_rows/kernels.inc"
#include "ops/resample/kernels.inc"
#include "ops/rms_norm/kernels.inc"
#include "ops/rope/kernels.inc"
#include "ops/silu_mul/kernels.inc"
};
#undef TESSERA_KERNEL

}  // namespace

std::span<const KernelListing> kernel_table() { return kTable; }

std::string arithmetic_of(const Cpu& cpu) {
  std::string text;
  for (const IsaLevelInfo& row : isa_levels()) {
    if (cpu.has(row.level)) text.append(row.name).append(" ");
  }
#ifdef TESSERA_OPENBLAS
  text.append(blas_build()).append(" ").append(blas_core());
#endif
  return text;
}

}  // namespace tessera::ops
