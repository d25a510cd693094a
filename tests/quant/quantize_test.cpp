#include "quant/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "quant/formats.h"
#include "quant/half.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera::quant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr DType kBlockTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                 DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

struct Result {
  std::vector<std::uint8_t> bytes;
  QuantizeStats stats;
};

Result quantize(QuantizeJob job, const std::vector<float>& x) {
  Result result;
  result.bytes.resize(static_cast<std::size_t>(job.rows * row_bytes(job.to, job.columns)));
  result.stats = quantize_rows(job, reinterpret_cast<const std::uint8_t*>(x.data()), result.bytes.data());
  return result;
}

std::vector<float> decoded(const QuantizeJob& job, const Result& result) {
  std::vector<float> x(static_cast<std::size_t>(job.rows * job.columns));
  find_format(job.to)->decode_row(result.bytes.data(), job.rows * job.columns, x.data());
  return x;
}

std::vector<float> gaussian(std::size_t n) {
  std::mt19937_64 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random) * 0.02f;
  return x;
}

ErrorCode code_of(const QuantizeJob& job, const std::vector<float>& x, std::string* message) {
  try {
    quantize(job, x);
  } catch (const Error& error) {
    *message = error.what();
    return error.code();
  }
  *message = "no error";
  return ErrorCode::kInternal;
}

// Issue 4: rows of 2560, a million weights. What a uniform quantizer of so many bits makes of Gaussian
// blocks.
TEST(GaussianRows, CostWhatTheFormatsAreKnownToCost) {
  const std::vector<float> x = gaussian(400 * 2560);
  const auto nmse = [&](DType to, Encoder encoder) {
    const QuantizeJob job{.to = to, .rows = 400, .columns = 2560, .encoder = encoder, .threads = 2};
    const double value = quantize(job, x).stats.nmse;
    ::testing::Test::RecordProperty(
        std::string(info(to).name) + (encoder == Encoder::kBest ? ".best" : ".reference"),
        std::to_string(value));
    return value;
  };
  EXPECT_LE(nmse(DType::kQ8_0, Encoder::kReference), 3.0e-5);
  const double q4_0 = nmse(DType::kQ4_0, Encoder::kReference), q4_k = nmse(DType::kQ4_K, Encoder::kReference);
  EXPECT_NEAR(q4_0, 7.4e-3, 0.1e-3);
  EXPECT_NEAR(q4_k, 5.2e-3, 0.2e-3);
  EXPECT_LE(nmse(DType::kQ4_0, Encoder::kBest), 0.9 * q4_0);
  EXPECT_LT(nmse(DType::kQ4_K, Encoder::kBest), 0.95 * q4_k);
  EXPECT_LT(nmse(DType::kQ4_1, Encoder::kBest), 0.8 * nmse(DType::kQ4_1, Encoder::kReference));
  EXPECT_LT(nmse(DType::kQ5_K, Encoder::kBest), 0.92 * nmse(DType::kQ5_K, Encoder::kReference));
  EXPECT_LT(nmse(DType::kQ6_K, Encoder::kBest), 0.9 * nmse(DType::kQ6_K, Encoder::kReference));
}

TEST(Quantize, StatisticsAreThoseOfTheBytes) {
  std::vector<float> x = gaussian(3 * 512);
  for (std::size_t i = 512; i < 1024; ++i) x[i] = i % 32 ? x[i] : 1.0f;  // outliers: the worst row
  const QuantizeJob job{.to = DType::kQ4_0, .rows = 3, .columns = 512};
  const Result result = quantize(job, x);
  const std::vector<float> y = decoded(job, result);
  double error[4] = {}, energy[4] = {};
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (const std::size_t at : {i / 512, std::size_t{3}}) {
      error[at] += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
      energy[at] += double{x[i]} * x[i];
    }
  }
  std::size_t worst = 0;
  for (const std::size_t row : {1, 2})
    worst = error[row] / energy[row] > error[worst] / energy[worst] ? row : worst;
  EXPECT_NEAR(result.stats.nmse, error[3] / energy[3], 1e-12);
  EXPECT_EQ(result.stats.worst_row, static_cast<std::int64_t>(worst));
  EXPECT_NEAR(result.stats.worst_row_nmse, error[worst] / energy[worst], 1e-12);
  EXPECT_EQ(result.stats.bits_per_weight, 4.5);
}

// Also when the caller's thread, as those of the executor, takes denormals as zero.
TEST(Quantize, GivesTheSameBytesForAnyNumberOfThreadsAndAnyFloatMode) {
  std::vector<float> x = gaussian(200 * 512);
  for (std::size_t i = 0; i < x.size(); i += 7) x[i] *= 1e-38f;
  for (const DType to : kBlockTypes) {
    QuantizeJob job{.to = to, .rows = 200, .columns = 512};
    const Result one = quantize(job, x);
    job.threads = 3;
    const FloatMode mode;
    const Result three = quantize(job, x);
    EXPECT_EQ(one.bytes, three.bytes) << info(to).name;
    EXPECT_EQ(one.stats.nmse, three.stats.nmse);
  }
}

TEST(Quantize, ReadsEveryFormatThatItWrites) {
  const std::vector<float> x = gaussian(4 * 512);
  for (const DType from : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ6_K}) {
    const QuantizeJob first{.to = from, .rows = 4, .columns = 512};
    const Result stored = quantize(first, x);
    const QuantizeJob direct{.to = DType::kQ4_0, .rows = 4, .columns = 512};
    QuantizeJob again = direct;
    again.from = from;
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(4 * row_bytes(DType::kQ4_0, 512)));
    quantize_rows(again, stored.bytes.data(), bytes.data());
    EXPECT_EQ(bytes, quantize(direct, decoded(first, stored)).bytes) << info(from).name;
  }
}

TEST(Quantize, ToTheSameFormatIsACopy) {
  const std::vector<float> x = gaussian(4 * 512);
  for (const DType dtype : kBlockTypes) {
    const Result stored = quantize({.to = dtype, .rows = 4, .columns = 512}, x);
    std::vector<std::uint8_t> copy(stored.bytes.size());
    const QuantizeJob job{.from = dtype, .to = dtype, .rows = 4, .columns = 512};
    EXPECT_EQ(quantize_rows(job, stored.bytes.data(), copy.data()).nmse, 0);
    EXPECT_EQ(copy, stored.bytes) << info(dtype).name;
  }
}

// A tensor in pieces: bytes, statistics and places in errors are those of the whole.
TEST(Quantize, PiecesAddUpToTheWhole) {
  std::vector<float> x = gaussian(300 * 512);
  const QuantizeJob whole{.to = DType::kQ4_K, .rows = 300, .columns = 512};
  const Result expected = quantize(whole, x);
  std::vector<std::uint8_t> bytes;
  QuantizeStats stats;
  const auto piece = [&](std::int64_t first, std::int64_t rows) {
    QuantizeJob job = whole;
    job.first_row = first;
    job.rows = rows;
    const Result part = quantize(job, {x.begin() + first * 512, x.begin() + (first + rows) * 512});
    bytes.insert(bytes.end(), part.bytes.begin(), part.bytes.end());
    stats.add(part.stats);
  };
  piece(0, 128);
  piece(128, 100);
  piece(228, 72);
  EXPECT_EQ(bytes, expected.bytes);
  EXPECT_EQ(stats.worst_row, expected.stats.worst_row);
  EXPECT_EQ(stats.worst_row_nmse, expected.stats.worst_row_nmse);
  EXPECT_EQ(stats.bits_per_weight, 4.5);
  EXPECT_NEAR(stats.nmse, expected.stats.nmse, 1e-12);
  x[130 * 512 + 5] = std::numeric_limits<float>::infinity();
  try {
    piece(128, 100);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("at row 130, column 5"));
  }
}

// G27
TEST(CheckRows, NamesTheFirstScaleThatIsNoNumber) {
  const std::vector<float> x = gaussian(40 * 512);
  Result stored = quantize({.to = DType::kQ4_0, .rows = 40, .columns = 512}, x);
  const QuantizeJob job{.from = DType::kQ4_0, .rows = 40, .columns = 512, .threads = 2, .tensor = "q"};
  EXPECT_NO_THROW(check_rows(job, stored.bytes.data()));
  const std::size_t block = 13 * 16 + 3;
  stored.bytes[18 * block + 1] = 0x7c;  // infinity as f16
  stored.bytes[18 * block] = 0;
  try {
    check_rows(job, stored.bytes.data());
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModel);
    EXPECT_THAT(error.what(), HasSubstr("q: weight is not finite at row 13, column "));
  }
}

TEST(Quantize, PlainTypesKeepWhatTheyCanHold) {
  const std::vector<float> x = {1.0f, -0.0f, 1e-40f, 65504.0f};
  const QuantizeJob job{.to = DType::kF32, .rows = 1, .columns = 4};
  EXPECT_EQ(decoded(job, quantize(job, x)), x);
  const QuantizeJob half{.to = DType::kF16, .rows = 1, .columns = 4};
  EXPECT_EQ(decoded(half, quantize(half, x)), (std::vector<float>{1.0f, -0.0f, 0.0f, 65504.0f}));
}

TEST(Quantize, HeavyColumnsAreKeptBetter) {
  const std::vector<float> x = gaussian(64 * 512);
  std::vector<float> importance(512, 1.0f);
  for (std::size_t c = 0; c < 512; c += 16) importance[c] = 100;
  for (const DType to : {DType::kQ4_0, DType::kQ4_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    QuantizeJob job{.to = to, .rows = 64, .columns = 512};
    const auto heavy_error = [&] {
      const std::vector<float> y = decoded(job, quantize(job, x));
      double sum = 0;
      for (std::size_t i = 0; i < x.size(); i += 16) sum += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
      return sum;
    };
    const double equal = heavy_error();
    job.importance = importance;
    EXPECT_LT(heavy_error(), 0.5 * equal) << info(to).name;
  }
}

// W2
TEST(Quantize, ZeroGroupsAreExact) {
  for (const DType to : kBlockTypes) {
    for (const Encoder encoder : {Encoder::kReference, Encoder::kBest}) {
      const QuantizeJob job{.to = to, .rows = 1, .columns = 512, .encoder = encoder};
      const std::vector<float> x(512, 0.0f);
      const Result result = quantize(job, x);
      EXPECT_EQ(decoded(job, result), x) << info(to).name;
      EXPECT_EQ(result.stats.nmse, 0);
    }
  }
}

// W2: numbers that f16 holds. Q8_0 divides by 127, which f16 does not.
TEST(Quantize, EqualGroupsAreExact) {
  for (const DType to : kBlockTypes) {
    if (to == DType::kQ8_0) continue;
    for (const float value : {0.37f, -0.37f, 2.5f, -60000.0f, 6e-5f}) {
      const std::vector<float> x(512, f16_to_f32(f32_to_f16(value)));
      const QuantizeJob job{.to = to, .rows = 1, .columns = 512};
      EXPECT_EQ(decoded(job, quantize(job, x)), x) << info(to).name << " " << value;
    }
  }
}

// W1
TEST(Quantize, NamesTheFirstWeightThatIsNoNumber) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const DType to : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_K}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
      std::vector<float> x = gaussian(300 * 512);
      x[7 * 512 + 300] = bad;
      x[7 * 512 + 301] = bad;
      x[250 * 512] = bad;
      std::string message;
      const QuantizeJob job{
          .to = to, .rows = 300, .columns = 512, .threads = 2, .file = "m.gguf", .tensor = "q"};
      EXPECT_EQ(code_of(job, x, &message), ErrorCode::kModel);
      EXPECT_THAT(message,
                  AllOf(HasSubstr("m.gguf: q: "), HasSubstr("not finite at row 7, column 300 (got ")));
    }
  }
}

// W3
TEST(Quantize, RefusesWhatAScaleOf16BitsCannotHold) {
  for (const DType to : kBlockTypes) {
    for (const float bad : {1e38f, -1e38f, 1e12f, 3e8f}) {
      for (const Encoder encoder : {Encoder::kReference, Encoder::kBest}) {
        std::vector<float> x = gaussian(4 * 512);
        x[2 * 512 + 70] = bad;
        std::string message;
        const QuantizeJob job{.to = to, .rows = 4, .columns = 512, .encoder = encoder, .tensor = "q"};
        EXPECT_EQ(code_of(job, x, &message), ErrorCode::kModel) << info(to).name << " " << bad;
        EXPECT_THAT(message, HasSubstr("outside the range of " + std::string(info(to).name) +
                                       " at row 2, column 70 (got "));
      }
    }
  }
}

TEST(Quantize, RefusesWhatF16AndBf16CannotHold) {
  for (const auto& [to, bad] : {std::pair{DType::kF16, 65520.0f}, {DType::kBF16, 3.4e38f}}) {
    std::string message;
    EXPECT_EQ(code_of({.to = to, .rows = 1, .columns = 2}, {1.0f, bad}, &message), ErrorCode::kModel);
    EXPECT_THAT(message,
                HasSubstr("outside the range of " + std::string(info(to).name) + " at row 0, column 1"));
  }
}

// W4: what f16 rounds to zero is zero; what it holds as a denormal is kept so.
TEST(Quantize, ScalesTooSmallForF16AreZeroAndDenormalOnesAreKept) {
  std::vector<float> x(32, 0.0f);
  const QuantizeJob job{.to = DType::kQ4_0, .rows = 1, .columns = 32, .encoder = Encoder::kReference};
  for (const float tiny : {1e-45f, 1e-38f, 1e-20f, 8 * 0x1p-26f}) {
    x[3] = tiny;
    EXPECT_EQ(decoded(job, quantize(job, x)), std::vector<float>(32, 0.0f)) << tiny;
  }
  x[3] = -8 * 0x1p-24f;
  EXPECT_EQ(decoded(job, quantize(job, x)), x);
}

TEST(Quantize, RefusesJobsThatMakeNoSense) {
  std::string message;
  const std::vector<float> x(64);
  EXPECT_EQ(code_of({.to = DType::kI32, .rows = 1, .columns = 32}, x, &message), ErrorCode::kUsage);
  EXPECT_THAT(message, HasSubstr("i32 is no weight format"));

  std::vector<std::uint8_t> bytes(256);
  const auto refuse = [&](const QuantizeJob& job, const char* reason) {
    try {
      quantize_rows(job, reinterpret_cast<const std::uint8_t*>(x.data()), bytes.data());
      ADD_FAILURE() << "no error: " << reason;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_THAT(error.what(), HasSubstr(reason));
    }
  };
  refuse({.to = DType::kQ4_0, .rows = 1, .columns = 40}, "q4_0 (got 40 columns, expected a multiple of 32)");
  refuse({.to = DType::kQ4_0, .rows = -1, .columns = 32}, "got -1 rows of 32 columns");
  const std::vector<float> few(31, 1.0f);
  refuse({.to = DType::kQ4_0, .rows = 1, .columns = 32, .importance = few}, "got 31, expected 32");
  std::vector<float> bad(32, 1.0f);
  for (const float value : {-1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    bad[5] = value;
    refuse({.to = DType::kQ4_0, .rows = 1, .columns = 32, .importance = bad}, "at column 5");
  }
  EXPECT_THROW(row_bytes(DType::kQ4_K, 128), Error);
  EXPECT_THROW(row_bytes(DType::kF32, std::int64_t{1} << 62), Error);
}

TEST(FittingFormat, FallsBackAsTheEcosystemDoes) {
  EXPECT_EQ(fitting_format(DType::kQ4_K, 2560), DType::kQ4_K);
  EXPECT_EQ(fitting_format(DType::kQ4_K, 1152), DType::kQ5_0);
  EXPECT_EQ(fitting_format(DType::kQ5_K, 1152), DType::kQ5_1);
  EXPECT_EQ(fitting_format(DType::kQ6_K, 1152), DType::kQ8_0);
  EXPECT_EQ(fitting_format(DType::kQ4_0, 1152), DType::kQ4_0);
  for (const DType wanted : kBlockTypes) EXPECT_EQ(fitting_format(wanted, 4304), DType::kF16);
  EXPECT_EQ(fitting_format(DType::kBF16, 4304), DType::kBF16);
}

TEST(Formats, TheTableHoldsEveryDtypeButIntegers) {
#define TESSERA_DTYPE(id, name, block_elems, block_bytes) \
  EXPECT_EQ(find_format(DType::id) != nullptr, DType::id != DType::kI32 && DType::id != DType::kU8) << (name);
#include "tensor/dtypes.inc"
#undef TESSERA_DTYPE
}

}  // namespace
}  // namespace tessera::quant
