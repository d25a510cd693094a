// Reading of the text goldens: JSON lines, and token lists.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/golden.h"

namespace tessera::testing {

using Ids = std::vector<std::int32_t>;

inline std::vector<nlohmann::json> read_json_lines(const std::string& path) {
  std::vector<nlohmann::json> out;
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  for (std::string line; std::getline(file, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

// A case of tests/golden/tokenizer/chats.jsonl.
inline nlohmann::json golden_chat(const std::string& checkpoint, const std::string& name) {
  for (auto& chat : read_json_lines(golden("tokenizer/chats.jsonl"))) {
    if (chat["checkpoint"] == checkpoint && chat["name"] == name) return chat;
  }
  ADD_FAILURE() << "no chat " << checkpoint << "/" << name;
  return {};
}

}  // namespace tessera::testing
