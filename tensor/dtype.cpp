#include "tensor/dtype.h"

#include <cstddef>
#include <iterator>

namespace tessera {
namespace {

constexpr DTypeInfo kTable[] = {
#define TESSERA_DTYPE(id, name, block_elems, block_bytes) {name, block_elems, block_bytes},
#include "tensor/dtypes.inc"
#undef TESSERA_DTYPE
};

}  // namespace

const DTypeInfo& info(DType dtype) { return kTable[static_cast<std::size_t>(dtype)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kTable); ++i) {
    if (kTable[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace tessera
