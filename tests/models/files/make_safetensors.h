// The bytes of a safetensors file, right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::testing {

inline std::string length_prefix(std::uint64_t length) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i) & 0xFF);
  return out;
}

// A header as given, followed by data_bytes bytes counting 0, 1, 2, …
inline std::string make_safetensors(std::string_view header, std::size_t data_bytes) {
  std::string out = length_prefix(header.size());
  out += header;
  for (std::size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i & 0xFF);
  return out;
}

}  // namespace tessera::testing
