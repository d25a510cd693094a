#include "ops/kernel_table.h"

#include <cstddef>

#include "tensor/cpu.h"

namespace tessera::ops {
namespace {

constexpr std::string_view kLevelNames[] = {
#define TESSERA_ISA_LEVEL(id, name, meaning) name,
#include "tensor/isa_levels.inc"
#undef TESSERA_ISA_LEVEL
};

constexpr std::string_view level_name(IsaLevel level) { return kLevelNames[static_cast<std::size_t>(level)]; }

// ".../ops/FOLDER/kernels.inc" -> "FOLDER".
constexpr std::string_view folder_of(std::string_view path) {
  path.remove_suffix(path.size() - path.rfind('/'));
  return path.substr(path.rfind('/') + 1);
}

// Inside an included list, __FILE__ is that list: the folder's name need not be repeated.
#define TESSERA_KERNEL(level, function, ...) {folder_of(__FILE__), #function, level_name(IsaLevel::level)},
constexpr KernelListing kTable[] = {
#include "ops/attention/kernels.inc"
#include "ops/gelu/kernels.inc"
#include "ops/layer_norm/kernels.inc"
#include "ops/matmul/kernels.inc"
#include "ops/rms_norm/kernels.inc"
#include "ops/rope/kernels.inc"
#include "ops/silu_mul/kernels.inc"
};
#undef TESSERA_KERNEL

}  // namespace

std::span<const KernelListing> kernel_table() { return kTable; }

}  // namespace tessera::ops
