// The tensor types of GGUF files: number, name, block.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace tessera {

struct GgmlType {
  std::uint32_t id;       // in files
  std::string_view name;  // as ggml spells it, "Q4_0"
  std::uint32_t block_elems, block_bytes;

  // The dtype with the same bytes, absent where no weight is read from this type (integers, formats that
  // this library does not know).
  std::optional<DType> dtype() const;
};

// nullptr for a number that no type has, or has any more.
const GgmlType* find_ggml_type(std::uint32_t id);
// nullptr for a dtype that is not written to files (I32).
const GgmlType* find_ggml_type(DType dtype);

}  // namespace tessera
