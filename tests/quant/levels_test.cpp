// Every level of instruction sets gives the bytes of the plain one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

#include "quant/formats.h"
#include "quant/quantize.h"
#include "tensor/error.h"
#include "tests/quant/golden_rows.h"

namespace tessera::quant {
namespace {

using testing::GoldenRows;

constexpr DType kBlockTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                 DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

std::vector<Cpu> vector_cpus() {
  const Cpu cpu = Cpu::detect();
  std::vector<Cpu> all;
  for (const IsaLevelInfo& row : isa_levels()) {
    if (row.level != IsaLevel::kScalar && cpu.has(row.level)) all.push_back(cpu.limited_to(row.level));
  }
  return all;
}

constexpr std::int64_t kColumns = 512;

// Numbers at the edges of the formats and of the floats: sizes over eighty decades within and between rows,
// equal numbers, few different ones, ties between codes, zeros of both signs, single outliers.
std::vector<float> odd_rows() {
  std::mt19937_64 random(11);
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> exponent(-149, 40), few(-3, 3);
  std::vector<float> x;
  const auto row = [&](auto element) {
    for (int c = 0; c < kColumns; ++c) x.push_back(element(c));
  };
  for (int e = -149; e <= 40; e += 9) row([&](int) { return std::ldexp(normal(random), e); });
  row([&](int) { return std::clamp(std::ldexp(normal(random), exponent(random)), -0x1p40f, 0x1p40f); });
  row([&](int) { return static_cast<float>(few(random)); });
  row([&](int c) { return static_cast<float>(c % 33) * 0.5f - 8; });
  row([&](int c) { return c % 2 ? 0.0f : -0.0f; });
  row([&](int c) { return c % 40 ? 0.0f : -1.0f; });
  row([&](int) { return -0.3f; });
  row([&](int) { return 100 + normal(random); });
  row([&](int c) { return c % 100 ? normal(random) : 1000.0f; });
  return x;
}

// No weights, then weights of many sizes, then weights that leave most out.
std::vector<std::vector<float>> importances() {
  std::mt19937_64 random(12);
  std::normal_distribution<float> normal;
  std::vector<float> wide(kColumns), sparse(kColumns);
  for (float& w : wide) w = std::exp(4 * normal(random));
  for (std::size_t c = 0; c < sparse.size(); c += 5) sparse[c] = 1;
  return {{}, wide, sparse};
}

void expect_same_bytes(const std::vector<float>& x, const float* importance) {
  const auto n = static_cast<std::int64_t>(x.size());
  for (const DType dtype : kBlockTypes) {
    const Format& plain = *find_format(dtype);
    const auto row_size = static_cast<std::size_t>(row_bytes(dtype, kColumns));
    for (const Cpu& cpu : vector_cpus()) {
      const Format& fast = *find_format(dtype, cpu);
      for (std::int64_t at = 0; at < n; at += kColumns) {
        std::vector<std::uint8_t> expected(row_size), bytes(row_size);
        plain.encode_row(&x[static_cast<std::size_t>(at)], kColumns, expected.data());
        fast.encode_row(&x[static_cast<std::size_t>(at)], kColumns, bytes.data());
        ASSERT_EQ(bytes, expected) << info(dtype).name << " " << name(cpu.best()) << " row " << at / kColumns;
        plain.encode_row_best(&x[static_cast<std::size_t>(at)], importance, kColumns, expected.data());
        fast.encode_row_best(&x[static_cast<std::size_t>(at)], importance, kColumns, bytes.data());
        ASSERT_EQ(bytes, expected) << info(dtype).name << " " << name(cpu.best()) << " best, row "
                                   << at / kColumns;
      }
    }
  }
}

TEST(Levels, GiveTheSameBytesForOddRows) {
  const std::vector<float> x = odd_rows();
  for (const std::vector<float>& importance : importances())
    expect_same_bytes(x, importance.empty() ? nullptr : importance.data());
}

TEST(Levels, GiveTheSameBytesForGoldenRows) {
  const GoldenRows rows;
  expect_same_bytes(rows.floats("input"), nullptr);
  expect_same_bytes(rows.floats("input"), rows.floats("importance").data());
}

// Else the tests above compare a level with itself.
TEST(Levels, HaveKernelsOfTheirOwn) {
  const auto plain = find_format(DType::kQ4_0)->encode_row_best;
  for (const IsaLevel level : {IsaLevel::kAvx2, IsaLevel::kAvx512}) {
    const Cpu cpu = Cpu::detect();
    if (!cpu.has(level)) continue;
    EXPECT_NE(find_format(DType::kQ4_0, cpu.limited_to(level))->encode_row_best, plain) << name(level);
  }
}

TEST(Levels, AreThoseOfTheEnvironment) {
  const char* const before = std::getenv("TESSERA_ISA");
  const std::string saved = before ? before : "";
  setenv("TESSERA_ISA", "scalar", 1);
  EXPECT_EQ(QuantizeJob().cpu.best(), IsaLevel::kScalar);
  setenv("TESSERA_ISA", "fastest", 1);
  try {
    QuantizeJob();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("TESSERA_ISA: unknown level (got fastest"));
  }
  before ? setenv("TESSERA_ISA", saved.c_str(), 1) : unsetenv("TESSERA_ISA");
}

}  // namespace
}  // namespace tessera::quant
