// Golden values are held against bounds of f32 arithmetic, so this process and those that it starts run whole
// models below the levels that round operands to bf16. What these levels make of golden values is tested at
// natural_cpu(), against the bounds of that rounding.
#pragma once

#include "tensor/cpu.h"

namespace tessera::testing {

// All levels of this CPU, or those that TESSERA_ISA left of them when the process began.
const Cpu& natural_cpu();

}  // namespace tessera::testing
