// Golden values are held against bounds of f32 arithmetic. Products on matrix tiles round both operands to
// bf16, and are held against the bounds of that where they are tested alone (tests/ops): what runs whole
// models stays below that level, in this process and in those that it starts.
#include <cstdio>
#include <cstdlib>

#include "tensor/cpu.h"

namespace {

const bool kBelowTiles = [] {
  if (std::getenv("TESSERA_ISA") || !tessera::Cpu::detect().has(tessera::IsaLevel::kAmx)) return false;
  std::printf("models run at x86_avx512bf16: golden bounds are not those of matrix tiles\n");
  return setenv("TESSERA_ISA", "x86_avx512bf16", 0) == 0;
}();

}  // namespace
