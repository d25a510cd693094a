// Which kernels this build holds, whatever the CPU: the rows of every ops/*/kernels.inc. The same rows make
// the declarations and the choice of a plan, so a kernel that runs is a kernel that is listed.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tensor/api.h"
#include "tensor/cpu.h"

namespace tessera::ops {

struct KernelListing {
  std::string_view op;      // the folder, such as "matmul"
  std::string_view kernel;  // the name that a plan prints; ends in the level, or in "ref" for the scalar one
  IsaLevel level;           // what the CPU needs
};

// Rows of one op stand together, best first.
TESSERA_API std::span<const KernelListing> kernel_table();

// A text for what decides the bits of results beside their inputs and the version of the library: the CPU's
// levels, and which OpenBLAS serves products of f32 with kernels for which CPU.
TESSERA_API std::string arithmetic_of(const Cpu& cpu);

}  // namespace tessera::ops
