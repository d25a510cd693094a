// What this machine can do at most, measured now: the limits beside which benchmarks report.
//
// Virtual processors share their hardware with strangers, so a limit holds for the minute in which it was
// measured (design.md §7). Each measurement takes at most 0.3 s; a limit is the best of several passes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/cpu.h"

namespace tessera::bench {

// For `threads` threads together; 0 where the CPU lacks the unit. A multiply and an add are two operations.
struct Roofs {
  int threads = 0;
  double read = 0;       // bytes/s: sequential reading of a buffer much larger than the last cache level
  double copy = 0;       // bytes/s copied, read and written once each: memcpy between two such buffers
  double f32 = 0;        // FLOP/s: fused multiply-add, of the best level of AVX2 and AVX-512
  double int8_dot = 0;   // op/s: vpdpbusd, of the best level of AVX-VNNI and AVX-512 VNNI
  double bf16_dot = 0;   // FLOP/s: vdpbf16ps
  double int8_tile = 0;  // op/s: tdpbssd
  double bf16_tile = 0;  // FLOP/s: tdpbf16ps

  // The faster of the two ways to multiply.
  double bf16() const { return bf16_tile > bf16_dot ? bf16_tile : bf16_dot; }
  double int8() const { return int8_tile > int8_dot ? int8_tile : int8_dot; }
};

// Levels that `cpu` lacks, or that TESSERA_ISA hides from it, are not measured.
Roofs measure_roofs(const Cpu& cpu, int threads);

// A buffer of this size cannot stay in any cache: four times the last level, 256 MiB to 1 GiB.
std::size_t uncached_bytes();

// What Roofs::read is the best of, for programs that ask for it between other work.
class ReadMeter {
 public:
  ReadMeter(const Cpu& cpu, int threads);
  // Bytes/s of reading the whole buffer once.
  double pass() const;
  std::size_t buffer_bytes() const { return buffer_.size(); }

 private:
  Buffer buffer_;
  int threads_;
  std::size_t ahead_ = 0;
  void (*read_)(const std::byte* data, std::size_t bytes, std::size_t ahead) noexcept;
};

// (what, amount with unit) for each limit there is, for people.
std::vector<std::pair<std::string, std::string>> describe(const Roofs& roofs);

}  // namespace tessera::bench
