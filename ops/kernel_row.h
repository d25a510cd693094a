// How a folder's kernels.inc becomes a table, and how a plan chooses from it.
//
// A row is TESSERA_KERNEL(level, function), best first; a folder may add columns (format, tile). The folder's
// op source defines the macro to make a KernelRow whose `run` is an adapter from KernelArgs to the raw
// kernel.
#pragma once

#include <span>

#include "tensor/op.h"

namespace tessera::ops {

struct KernelRow {
  IsaLevel level;
  const char* name;
  KernelFn run;
};

// The first row that the CPU can run. Every list ends in a scalar row, so there is one.
inline const KernelRow& select(std::span<const KernelRow> rows, const Cpu& cpu) {
  for (const KernelRow& row : rows) {
    if (cpu.has(row.level)) return row;
  }
  return rows.back();
}

}  // namespace tessera::ops
