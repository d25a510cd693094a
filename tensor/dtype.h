// Element types and their sizes, made from dtypes.inc.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/api.h"

namespace tessera {

enum class DType : std::uint8_t {
#define TESSERA_DTYPE(id, name, block_elems, block_bytes) id,
#include "tensor/dtypes.inc"
#undef TESSERA_DTYPE
};

struct DTypeInfo {
  std::string_view name;
  std::int32_t block_elems;  // elements that share one block; 1 for plain types
  std::int32_t block_bytes;
};

TESSERA_API const DTypeInfo& info(DType dtype);
TESSERA_API std::optional<DType> dtype_from_name(std::string_view name);

}  // namespace tessera
