#include "ops/kernel_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "tensor/cpu.h"
#include "tests/golden.h"

namespace tessera::testing {
namespace {

TEST(KernelTable, NamesEndInTheirLevel) {
  for (const ops::KernelListing& row : ops::kernel_table()) {
    // OpenBLAS chooses its own instructions: its level is the least that it is used on.
    if (row.kernel.ends_with("_openblas")) continue;
    const std::string_view suffix = row.level == IsaLevel::kScalar ? "ref" : name(row.level);
    EXPECT_THAT(std::string(row.kernel), ::testing::EndsWith(std::string(suffix)));
  }
}

TEST(KernelTable, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const ops::KernelListing& row : ops::kernel_table())
    EXPECT_TRUE(names.insert(row.kernel).second) << row.kernel;
}

TEST(KernelTable, HoldsEveryFolder) {
  std::set<std::string> listed, folders;
  for (const ops::KernelListing& row : ops::kernel_table()) listed.emplace(row.op);
  const auto source = std::filesystem::path(TESSERA_GOLDEN_DIR).parent_path().parent_path() / "ops";
  for (const auto& entry : std::filesystem::directory_iterator(source)) {
    if (std::filesystem::exists(entry.path() / "kernels.inc")) folders.insert(entry.path().filename());
  }
  EXPECT_FALSE(folders.empty());
  EXPECT_EQ(listed, folders);
}

TEST(KernelTable, RowsOfAnOpStandTogetherAndEndInTheScalarOne) {
  const auto rows = ops::kernel_table();
  std::set<std::string_view> ended;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_FALSE(ended.contains(rows[i].op)) << rows[i].kernel;
    if (i + 1 < rows.size() && rows[i + 1].op == rows[i].op) continue;
    ended.insert(rows[i].op);
    EXPECT_EQ(rows[i].level, IsaLevel::kScalar) << rows[i].kernel;
  }
}

}  // namespace
}  // namespace tessera::testing
