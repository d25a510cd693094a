// Which instruction sets this CPU and its operating system offer.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tensor/api.h"

namespace tessera {

enum class IsaLevel : std::uint8_t {
#define TESSERA_ISA_LEVEL(id, name, meaning) id,
#include "tensor/isa_levels.inc"
#undef TESSERA_ISA_LEVEL
};

struct IsaLevelInfo {
  IsaLevel level;
  std::string_view name;
  std::string_view meaning;
};
TESSERA_API std::span<const IsaLevelInfo> isa_levels();
TESSERA_API std::string_view name(IsaLevel level);
TESSERA_API std::optional<IsaLevel> isa_level_from_name(std::string_view name);

class TESSERA_API Cpu {
 public:
  // Believes cpuid only for state that the system saves (xgetbv), and AMX only after the kernel has granted
  // tiles to this process (arch_prctl 0x1023, feature 18).
  static Cpu detect();
  // detect(), limited to the level named by the environment variable TESSERA_ISA where that is set.
  // Throws Error{kUsage} for an unknown name or a level this CPU lacks.
  static Cpu from_environment();

  // This CPU without the levels above `highest`. Throws Error{kUsage} when it lacks `highest` itself.
  Cpu limited_to(IsaLevel highest) const;
  bool has(IsaLevel level) const { return levels_ >> static_cast<int>(level) & 1; }
  IsaLevel best() const;
  const std::string& brand() const { return brand_; }
  // How far ahead of its loads a kernel asks for what it streams from memory, in bytes; 0: not at all, for
  // the processor reads ahead faster by itself. Measured on Zen 4 (0) and Zen 5 (bench/RESULTS.md); 0
  // elsewhere. Attention over q8_0 always asks for what is two tiles ahead (ops/attention).
  std::int64_t bytes_ahead() const { return bytes_ahead_; }
  // This CPU with another such distance, to measure it; results stay the same bits.
  Cpu asking_ahead(std::int64_t bytes) const;
  friend bool operator==(const Cpu& a, const Cpu& b) { return a.levels_ == b.levels_; }

 private:
  std::uint32_t levels_ = 1;  // bit i: level i of isa_levels.inc
  std::int64_t bytes_ahead_ = 0;
  std::string brand_;
};

}  // namespace tessera
