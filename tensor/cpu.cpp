#include "tensor/cpu.h"

#include <cstdlib>
#include <cstring>

#include "tensor/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tessera {
namespace {

constexpr IsaLevelInfo kLevels[] = {
#define TESSERA_ISA_LEVEL(id, name, meaning) {IsaLevel::id, name, meaning},
#include "tensor/isa_levels.inc"
#undef TESSERA_ISA_LEVEL
};

constexpr std::uint32_t bit(IsaLevel level) { return 1u << static_cast<int>(level); }

#if defined(__x86_64__)

struct CpuidResult {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  CpuidResult r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

std::uint64_t xgetbv0() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

bool kernel_grants_tiles() {
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}

std::uint32_t detect_levels() {
  // Feature bits: Intel SDM volume 2, CPUID; state bits: volume 1, 13.3.
  auto all = [](std::uint32_t value, std::initializer_list<int> bits) {
    for (const int b : bits) {
      if (!(value >> b & 1)) return false;
    }
    return true;
  };
  std::uint32_t levels = bit(IsaLevel::kScalar);
  const CpuidResult basic = cpuid(1, 0), extended = cpuid(7, 0), extended1 = cpuid(7, 1);
  if (!all(basic.ecx, {27})) return levels;  // OSXSAVE
  const std::uint64_t state = xgetbv0();
  const bool ymm_saved = (state & 0x6) == 0x6, zmm_saved = (state & 0xE6) == 0xE6;
  const bool tiles_saved = (state & 0x60000) == 0x60000;
  if (ymm_saved && all(basic.ecx, {12, 28, 29}) && all(extended.ebx, {5})) levels |= bit(IsaLevel::kAvx2);
  if (levels & bit(IsaLevel::kAvx2) && all(extended1.eax, {4})) levels |= bit(IsaLevel::kAvxVnni);
  if (!(levels & bit(IsaLevel::kAvx2)) || !zmm_saved || !all(extended.ebx, {16, 17, 30, 31})) return levels;
  levels |= bit(IsaLevel::kAvx512);
  if (!all(extended.ecx, {11})) return levels;
  levels |= bit(IsaLevel::kAvx512Vnni);
  if (!all(extended1.eax, {5})) return levels;
  levels |= bit(IsaLevel::kAvx512Bf16);
  if (tiles_saved && all(extended.edx, {22, 24, 25}) && kernel_grants_tiles()) levels |= bit(IsaLevel::kAmx);
  return levels;
}

// AMD64 Architecture Programmer's Manual volume 3, CPUID 0 and 1: "AuthenticAMD" in ebx, edx, ecx; a family
// of 15 goes on in bits 20 to 27. Zen 5 is family 26.
std::int64_t measured_bytes_ahead() {
  const CpuidResult vendor = cpuid(0, 0), basic = cpuid(1, 0);
  if (vendor.ebx != 0x68747541 || vendor.edx != 0x69746e65 || vendor.ecx != 0x444d4163) return 0;
  const std::uint32_t base = basic.eax >> 8 & 15, extended = basic.eax >> 20 & 255;
  return base == 15 && base + extended >= 26 ? 8192 : 0;
}

std::string read_brand() {
  std::string brand;
  if (cpuid(0x80000000u, 0).eax < 0x80000004u) return brand;
  for (std::uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
    const CpuidResult r = cpuid(leaf, 0);
    char text[16];
    std::memcpy(text, &r, sizeof text);
    brand.append(text, sizeof text);
  }
  brand.resize(std::strlen(brand.c_str()));
  const std::size_t first = brand.find_first_not_of(' ');
  return first == std::string::npos ? "" : brand.substr(first, brand.find_last_not_of(' ') - first + 1);
}

#else

std::uint32_t detect_levels() { return bit(IsaLevel::kScalar); }
std::int64_t measured_bytes_ahead() { return 0; }
std::string read_brand() { return ""; }

#endif

}  // namespace

std::span<const IsaLevelInfo> isa_levels() { return kLevels; }

std::string_view name(IsaLevel level) { return kLevels[static_cast<std::size_t>(level)].name; }

std::optional<IsaLevel> isa_level_from_name(std::string_view name) {
  for (const IsaLevelInfo& row : kLevels) {
    if (row.name == name) return row.level;
  }
  return std::nullopt;
}

Cpu Cpu::detect() {
  Cpu cpu;
  cpu.levels_ = detect_levels();
  cpu.bytes_ahead_ = measured_bytes_ahead();
  cpu.brand_ = read_brand();
  return cpu;
}

Cpu Cpu::from_environment() {
  const Cpu cpu = detect();
  const char* forced = std::getenv("TESSERA_ISA");
  if (!forced || !*forced) return cpu;
  const auto level = isa_level_from_name(forced);
  if (!level) {
    std::string names;
    for (const IsaLevelInfo& row : kLevels) names += (names.empty() ? "" : ", ") + std::string(row.name);
    throw Error(ErrorCode::kUsage, "", "TESSERA_ISA",
                "unknown level (got " + std::string(forced) + ", expected one of " + names + ")");
  }
  return cpu.limited_to(*level);
}

Cpu Cpu::limited_to(IsaLevel highest) const {
  if (!has(highest)) {
    throw Error(ErrorCode::kUsage, "", "TESSERA_ISA",
                "this CPU has no " + std::string(tessera::name(highest)) + " (best is " +
                    std::string(tessera::name(best())) + ")");
  }
  Cpu cpu = *this;
  cpu.levels_ &= (bit(highest) << 1) - 1;
  return cpu;
}

Cpu Cpu::asking_ahead(std::int64_t bytes) const {
  Cpu cpu = *this;
  cpu.bytes_ahead_ = bytes;
  return cpu;
}

IsaLevel Cpu::best() const {
  IsaLevel level = IsaLevel::kScalar;
  for (const IsaLevelInfo& row : kLevels) {
    if (has(row.level)) level = row.level;
  }
  return level;
}

}  // namespace tessera
