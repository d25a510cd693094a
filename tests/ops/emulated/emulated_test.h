// What the tests of emulated kernels share.
#pragma once

#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <string_view>

#include "tensor/cpu.h"
#include "tests/ops/emulated/kernels.h"

namespace tessera::testing {

inline IsaLevel level_of(std::string_view enumerator) {
#define TESSERA_ISA_LEVEL(id, name, meaning) \
  if (enumerator == #id) return IsaLevel::id;
#include "tensor/isa_levels.inc"
#undef TESSERA_ISA_LEVEL
  ADD_FAILURE() << enumerator;
  return IsaLevel::kScalar;
}

// Which levels were tested how, of one op.
template <typename Kernels>
void print_emulated(const char* op, const Kernels& kernels) {
  struct Level {
    int kernels = 0;
    IsaLevel base = IsaLevel::kScalar;
  };
  std::map<IsaLevel, Level> levels;
  for (const emulated::Kernel& kernel : kernels) {
    Level& level = levels[level_of(kernel.level)];
    ++level.kernels;
    level.base = level_of(kernel.base);
  }
  const Cpu cpu = Cpu::from_environment();
  for (const auto& [level, what] : levels) {
    std::cout << op << " " << name(level) << ": " << what.kernels << " kernels, "
              << (cpu.has(what.base) ? "emulated on " : "not run: this CPU lacks ") << name(what.base)
              << (cpu.has(level) ? "; the real unit is tested too\n" : "; this CPU lacks the real unit\n");
  }
#if defined(__x86_64__)
  EXPECT_FALSE(levels.empty());
#endif
}

}  // namespace tessera::testing
