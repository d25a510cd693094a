#include "tensor/cpu.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "tensor/error.h"

namespace tessera {
namespace {

// Sets TESSERA_ISA for one test.
class ForcedIsa {
 public:
  explicit ForcedIsa(const char* value) {
    if (const char* before = std::getenv("TESSERA_ISA")) before_ = before;
    value ? setenv("TESSERA_ISA", value, 1) : unsetenv("TESSERA_ISA");
  }
  ~ForcedIsa() { before_ ? setenv("TESSERA_ISA", before_->c_str(), 1) : unsetenv("TESSERA_ISA"); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;

 private:
  std::optional<std::string> before_;
};

TEST(IsaLevels, NamesLeadBack) {
  for (const IsaLevelInfo& row : isa_levels()) {
    EXPECT_EQ(name(row.level), row.name);
    EXPECT_EQ(isa_level_from_name(row.name), row.level);
  }
  EXPECT_FALSE(isa_level_from_name("avx2"));
  EXPECT_FALSE(isa_level_from_name(""));
}

TEST(Cpu, LevelsAreNested) {
  const Cpu cpu = Cpu::detect();
  EXPECT_TRUE(cpu.has(IsaLevel::kScalar));
  bool weaker = true;
  for (const IsaLevelInfo& row : isa_levels()) {
    if (row.level == IsaLevel::kAvxVnni) continue;  // beside the others
    EXPECT_TRUE(weaker || !cpu.has(row.level)) << row.name;
    weaker = cpu.has(row.level);
  }
  EXPECT_TRUE(cpu.has(cpu.best()));
}

TEST(Cpu, AsksAheadOnZen5) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  bool amd = false;
  int family = 0;
  while (std::getline(file, line)) {
    if (line.rfind("vendor_id", 0) == 0) amd = line.find("AuthenticAMD") != std::string::npos;
    if (line.rfind("cpu family", 0) == 0) family = std::stoi(line.substr(line.find(':') + 1));
  }
  const Cpu cpu = Cpu::detect();
  EXPECT_EQ(cpu.bytes_ahead(), amd && family >= 26 ? 8192 : 0) << cpu.brand() << ", family " << family;
  EXPECT_EQ(cpu.asking_ahead(64).bytes_ahead(), 64);
  EXPECT_EQ(cpu.asking_ahead(64).limited_to(IsaLevel::kScalar).bytes_ahead(), 64);
}

TEST(Cpu, LimitHidesTheLevelsAbove) {
  const Cpu cpu = Cpu::detect();
  for (const IsaLevelInfo& limit : isa_levels()) {
    if (!cpu.has(limit.level)) continue;
    const Cpu limited = cpu.limited_to(limit.level);
    EXPECT_EQ(limited.best(), limit.level);
    for (const IsaLevelInfo& row : isa_levels()) {
      EXPECT_EQ(limited.has(row.level), row.level <= limit.level && cpu.has(row.level)) << row.name;
    }
    EXPECT_EQ(limited.brand(), cpu.brand());
  }
}

TEST(Cpu, RefusesALevelThatItLacks) {
  const Cpu scalar = Cpu::detect().limited_to(IsaLevel::kScalar);
  EXPECT_EQ(scalar, Cpu());
  try {
    scalar.limited_to(IsaLevel::kAmx);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(error.what(), "TESSERA_ISA: this CPU has no x86_amx (best is scalar)");
  }
}

TEST(Cpu, TheEnvironmentForcesALevel) {
  const Cpu cpu = Cpu::detect();
  for (const IsaLevelInfo& row : isa_levels()) {
    const ForcedIsa forced(std::string(row.name).c_str());
    if (cpu.has(row.level)) {
      EXPECT_EQ(Cpu::from_environment().best(), row.level);
    } else {
      EXPECT_THROW(Cpu::from_environment(), Error) << row.name;
    }
  }
}

TEST(Cpu, AnEmptyOrUnsetVariableForcesNothing) {
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    const ForcedIsa forced(value);
    EXPECT_EQ(Cpu::from_environment(), Cpu::detect());
  }
}

TEST(Cpu, AnUnknownLevelIsAnErrorThatNamesTheKnownOnes) {
  const ForcedIsa forced("avx2\x1b[31m");
  try {
    Cpu::from_environment();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(error.what(),
                 "TESSERA_ISA: unknown level (got avx2\\x1b[31m, expected one of scalar, x86_avx2, "
                 "x86_avxvnni, x86_avx512, x86_avx512vnni, x86_avx512bf16, x86_amx)");
  }
}

}  // namespace
}  // namespace tessera
