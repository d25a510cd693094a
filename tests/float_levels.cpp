#include "tests/float_levels.h"

#include <cstdio>
#include <cstdlib>

namespace tessera::testing {
namespace {

const bool kBelowBf16 = [] {
  if (std::getenv("TESSERA_ISA") || !natural_cpu().has(IsaLevel::kAvx512Bf16)) return false;
  std::printf(
      "models run at x86_avx512vnni, but for tests that say otherwise: golden bounds are those of f32\n");
  return setenv("TESSERA_ISA", "x86_avx512vnni", 0) == 0;
}();

}  // namespace

const Cpu& natural_cpu() {
  static const Cpu cpu = Cpu::from_environment();
  return cpu;
}

}  // namespace tessera::testing
