// Where reference data lies. Small vectors travel with the project in tests/golden; the large rest stands
// in ../shared/golden, beside the checkout, and a test that needs it says that it skipped elsewhere.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace tessera::testing {

inline std::string golden(const std::string& path) { return std::string(TESSERA_GOLDEN_DIR) + "/" + path; }
inline std::string shared_golden(const std::string& path) {
  return std::string(TESSERA_SHARED_GOLDEN_DIR) + "/" + path;
}

}  // namespace tessera::testing

#define TESSERA_REQUIRE_SHARED(path)                                     \
  if (!std::filesystem::exists(::tessera::testing::shared_golden(path))) \
  GTEST_SKIP() << "needs " << ::tessera::testing::shared_golden(path)
