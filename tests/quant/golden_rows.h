// tests/golden/formats/rows.safetensors: rows of many kinds and what the ggml library makes of them.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/golden.h"

namespace tessera::testing {

class GoldenRows {
 public:
  static constexpr int kRows = 64, kColumns = 512;

  GoldenRows() {
    std::ifstream file(golden("formats/rows.safetensors"), std::ios::binary);
    data_.assign(std::istreambuf_iterator<char>(file), {});
    std::uint64_t length = 0;
    std::memcpy(&length, data_.data(), 8);
    header_ =
        nlohmann::json::parse(data_.begin() + 8, data_.begin() + 8 + static_cast<std::ptrdiff_t>(length));
    start_ = 8 + length;
  }

  std::vector<std::uint8_t> bytes(const std::string& name) const {
    const auto offsets = header_.at(name).at("data_offsets");
    const auto at = data_.begin() + static_cast<std::ptrdiff_t>(start_);
    return {at + offsets[0].get<std::ptrdiff_t>(), at + offsets[1].get<std::ptrdiff_t>()};
  }

  std::vector<float> floats(const std::string& name) const {
    const std::vector<std::uint8_t> raw = bytes(name);
    std::vector<float> values(raw.size() / 4);
    std::memcpy(values.data(), raw.data(), raw.size());
    return values;
  }

 private:
  std::vector<char> data_;
  nlohmann::json header_;
  std::uint64_t start_ = 0;
};

}  // namespace tessera::testing
