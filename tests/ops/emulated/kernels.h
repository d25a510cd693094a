// The kernels of ops/*/kernels.inc that are compiled against the emulated units (intrinsics.h).
//
// Their declarations, and the structs that they take, stand in another namespace with the same layout: work
// is passed as bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace emulated {

struct Kernel {
  const char* level;  // enumerator of IsaLevel: what the kernel is for
  const char* base;   // what a CPU needs to run it here
  const char* name;
};

struct MatmulKernel : Kernel {
  const char* format;  // of the weight, as kernels.inc has it
  std::size_t (*workspace)(std::int64_t rows, std::int64_t columns, std::int64_t k);
  void (*run)(const void* tile) noexcept;  // a MatmulTile of ops/matmul/kernels.h
};

struct AttentionKernel : Kernel {
  const char* work;   // AttentionBlock, SegmentBlock or DecodeRun of ops/attention/kernels.h
  const char* cache;  // enumerator of DType
  void (*run)(const void* work) noexcept;
};

std::span<const MatmulKernel> matmul_kernels();
std::span<const AttentionKernel> attention_kernels();

}  // namespace emulated
