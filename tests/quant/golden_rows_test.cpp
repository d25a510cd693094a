// The formats against the ggml library's bytes and numbers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "quant/formats.h"
#include "quant/quantize.h"
#include "tests/quant/golden_rows.h"

namespace tessera::quant {
namespace {

using testing::GoldenRows;
constexpr int kRows = GoldenRows::kRows, kColumns = GoldenRows::kColumns;

class GoldenRowsOf : public ::testing::TestWithParam<DType> {
 protected:
  std::string name() const { return std::string(info(GetParam()).name); }
  const Format& format() const { return *find_format(GetParam()); }
  std::size_t row_size() const { return static_cast<std::size_t>(row_bytes(GetParam(), kColumns)); }
  GoldenRows rows_;
};

TEST_P(GoldenRowsOf, TheReferenceEncoderGivesTheLibrarysBytes) {
  const std::vector<float> x = rows_.floats("input");
  const std::vector<std::uint8_t> expected = rows_.bytes(name() + ".bytes");
  const auto block = static_cast<std::size_t>(info(GetParam()).block_bytes);
  for (int r = 0; r < kRows; ++r) {
    std::vector<std::uint8_t> bytes(row_size());
    format().encode_row(x.data() + r * kColumns, kColumns, bytes.data());
    for (std::size_t b = 0; b < bytes.size(); b += block) {
      ASSERT_EQ(std::memcmp(&bytes[b], &expected[static_cast<std::size_t>(r) * row_size() + b], block), 0)
          << name() << " row " << r << " block " << b / block;
    }
  }
}

TEST_P(GoldenRowsOf, TheDecoderGivesTheLibrarysNumbers) {
  const std::vector<std::uint8_t> bytes = rows_.bytes(name() + ".bytes");
  const std::vector<float> expected = rows_.floats(name() + ".decoded");
  std::vector<float> x(expected.size());
  format().decode_row(bytes.data(), kRows * kColumns, x.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(x[i]), std::bit_cast<std::uint32_t>(expected[i]))
        << name() << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GoldenRowsOf,
                         ::testing::Values(DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                                           DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ4_K,
                                           DType::kQ5_K, DType::kQ6_K),
                         [](const auto& param) { return std::string(tessera::info(param.param).name); });

class WeightedGoldenRowsOf : public GoldenRowsOf {
 protected:
  double error(const std::uint8_t* bytes, const float* x, const std::vector<float>& importance) const {
    std::vector<float> decoded(kColumns);
    format().decode_row(bytes, kColumns, decoded.data());
    double sum = 0;
    for (std::size_t i = 0; i < kColumns; ++i) {
      const double rest = static_cast<double>(x[i]) - decoded[i];
      sum += importance[i] * rest * rest;
    }
    return sum;
  }
};

// Also in each block no worse than the reference encoder.
TEST_P(WeightedGoldenRowsOf, TheBestEncoderLosesToNeitherEncoderOfTheLibrary) {
  const std::vector<float> x = rows_.floats("input"), importance = rows_.floats("importance");
  const std::vector<std::uint8_t> weighted = rows_.bytes(name() + ".weighted.bytes");
  double ours_total = 0, theirs_total = 0;
  int smaller = 0;
  for (int r = 0; r < kRows; ++r) {
    const float* row = x.data() + r * kColumns;
    std::vector<std::uint8_t> bytes(row_size());
    format().encode_row_best(row, importance.data(), kColumns, bytes.data());
    const double ours = error(bytes.data(), row, importance);
    const double theirs = error(weighted.data() + static_cast<std::size_t>(r) * row_size(), row, importance);
    EXPECT_LE(ours, theirs) << name() << " row " << r;
    smaller += ours < theirs;
    ours_total += ours;
    theirs_total += theirs;
  }
  EXPECT_LT(ours_total, theirs_total);
  EXPECT_GE(smaller, 46);  // the Gaussian rows at least
  RecordProperty("ours_over_theirs", std::to_string(ours_total / theirs_total));
}

INSTANTIATE_TEST_SUITE_P(Formats, WeightedGoldenRowsOf,
                         ::testing::Values(DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                           DType::kQ4_K, DType::kQ5_K, DType::kQ6_K),
                         [](const auto& param) { return std::string(tessera::info(param.param).name); });

}  // namespace
}  // namespace tessera::quant
