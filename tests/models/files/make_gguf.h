// The bytes of GGUF files, right or wrong.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::testing {

template <typename T>
std::string number(T value) {
  std::string out;
  const auto bits = static_cast<std::uint64_t>(value);
  for (std::size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>(bits >> (8 * i) & 0xFF);
  return out;
}
inline std::string u32(std::uint32_t value) { return number(value); }
inline std::string u64(std::uint64_t value) { return number(value); }
inline std::string text(std::string_view value) { return u64(value.size()) + std::string(value); }

// type as in GgufType; value as in the file behind it
inline std::string key_value(std::string_view key, std::uint32_t type, const std::string& value) {
  return text(key) + u32(type) + value;
}

// Dims as in the file, fastest first.
inline std::string tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                          std::uint64_t offset) {
  std::string out = text(name) + u32(static_cast<std::uint32_t>(dims.size()));
  for (const std::uint64_t dim : dims) out += u64(dim);
  return out + u32(type) + u64(offset);
}

inline std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}

// Version 3, padded to 32, followed by data_bytes bytes counting 0, 1, 2, …
inline std::string make_gguf(const std::vector<std::string>& keys,
                             const std::vector<std::string>& tensors = {}, std::size_t data_bytes = 0,
                             std::size_t alignment = 32) {
  std::string out = "GGUF" + u32(3) + u64(tensors.size()) + u64(keys.size()) + join(keys) + join(tensors);
  out.resize((out.size() + alignment - 1) / alignment * alignment);
  for (std::size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i & 0xFF);
  return out;
}

}  // namespace tessera::testing
