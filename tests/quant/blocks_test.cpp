// Vectors of spec/qwen3-vl.md 9.4, and random blocks against a second implementation that unpacks each format
// element by element from its drawing.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "quant/formats.h"
#include "quant/half.h"
#include "quant/k_min.h"
#include "quant/plain.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace tessera::quant {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <typename Block>
Bytes bytes_of(const Block& block) {
  Bytes bytes(sizeof block);
  std::memcpy(bytes.data(), &block, sizeof block);
  return bytes;
}

std::vector<float> ramp(float first) {
  std::vector<float> x(32);
  for (int l = 0; l < 32; ++l) x[l] = first + static_cast<float>(l);
  return x;
}

TEST(SpecVectors, Bf16) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3F80);
  EXPECT_EQ(f32_to_bf16(1.01171875f), 0x3F82);
  EXPECT_EQ(f32_to_bf16(3.14159274f), 0x4049);
  EXPECT_EQ(f32_to_bf16(-0.1f), 0xBDCD);
}

TEST(SpecVectors, Q8_0Ramp) {
  BlockQ8_0 block;
  encode(ramp(0).data(), &block);
  EXPECT_EQ(block.d, 0x33D0);
  const int q[] = {0,  4,  8,  12, 16, 20, 25, 29, 33, 37,  41,  45,  49,  53,  57,  61,
                   66, 70, 74, 78, 82, 86, 90, 94, 98, 102, 107, 111, 115, 119, 123, 127};
  for (int l = 0; l < 32; ++l) EXPECT_EQ(block.qs[l], q[l]) << l;
}

TEST(SpecVectors, Q4_0Ramp) {
  BlockQ4_0 block;
  encode(ramp(-16).data(), &block);
  EXPECT_EQ(bytes_of(block), (Bytes{0x00, 0x40, 0x80, 0x91, 0x91, 0xa2, 0xa2, 0xb3, 0xb3, 0xc4, 0xc4, 0xd5,
                                    0xd5, 0xe6, 0xe6, 0xf7, 0xf7, 0xf8}));
}

TEST(SpecVectors, Q4_1Ramp) {
  BlockQ4_1 block;
  encode(ramp(-16).data(), &block);
  EXPECT_EQ(bytes_of(block), (Bytes{0x22, 0x40, 0x00, 0xCC, 0x80, 0x80, 0x91, 0x91, 0xa2, 0xa2,
                                    0xb3, 0xb3, 0xc4, 0xc4, 0xd5, 0xd5, 0xe6, 0xe6, 0xf7, 0xf7}));
}

TEST(SpecVectors, SixBitScales) {
  const std::uint8_t bytes[12] = {0x01, 0x42, 0x83, 0xC4, 0x05, 0x46, 0x87, 0xC8, 0x9A, 0xBC, 0xDE, 0xF1};
  std::array<std::uint8_t, 8> scale{}, min{};
  unpack_scales(bytes, scale.data(), min.data());
  EXPECT_EQ(scale, (std::array<std::uint8_t, 8>{1, 2, 3, 4, 10, 28, 46, 49}));
  EXPECT_EQ(min, (std::array<std::uint8_t, 8>{5, 6, 7, 8, 9, 27, 45, 63}));
}

constexpr std::uint8_t kScales[] = {5, 60, 13, 63, 17, 32, 63, 1}, kMins[] = {33, 7, 13, 0, 48, 31, 63, 62};
constexpr std::array<std::uint8_t, 12> kPacked = {0x45, 0xBC, 0xCD, 0x3F, 0xE1, 0x47,
                                                  0xCD, 0xC0, 0x01, 0xF0, 0xFF, 0xE1};

TEST(SpecVectors, SixBitScalesPack) {
  std::array<std::uint8_t, 12> bytes{};
  pack_scales(kScales, kMins, bytes.data());
  EXPECT_EQ(bytes, kPacked);
}

template <typename Block>
std::vector<float> decode_k(Block block) {
  block.d = f32_to_f16(0.5f);
  block.dmin = f32_to_f16(0.25f);
  std::copy(kPacked.begin(), kPacked.end(), block.scales);
  for (int k = 0; k < 128; ++k) block.qs[k] = static_cast<std::uint8_t>(7 * k + 3);
  std::vector<float> x(256);
  decode(block, x.data());
  return x;
}

std::vector<float> four(const std::vector<float>& x, int first) {
  return {x.begin() + first, x.begin() + first + 4};
}

TEST(SpecVectors, Q4_K) {
  const std::vector<float> x = decode_k(BlockQ4_K{});
  EXPECT_EQ(four(x, 0), (std::vector<float>{-0.75f, 16.75f, -5.75f, 11.75f}));
  EXPECT_EQ(four(x, 32), (std::vector<float>{-1.75f, -1.75f, 28.25f, 28.25f}));
  EXPECT_EQ(four(x, 128), (std::vector<float>{13.5f, 73.0f, -3.5f, 56.0f}));
  EXPECT_EQ(four(x, 224), (std::vector<float>{-10.5f, -10.5f, -10.0f, -10.0f}));
  EXPECT_EQ(x[255], -12.0f);
}

TEST(SpecVectors, Q5_K) {
  BlockQ5_K block{};
  for (int k = 0; k < 32; ++k) block.qh[k] = static_cast<std::uint8_t>(37 * k + 11);
  const std::vector<float> x = decode_k(block);
  EXPECT_EQ(four(x, 0), (std::vector<float>{39.25f, 16.75f, 34.25f, 11.75f}));
  EXPECT_EQ(four(x, 32), (std::vector<float>{478.25f, -1.75f, 28.25f, 508.25f}));
  EXPECT_EQ(four(x, 128), (std::vector<float>{13.5f, 209.0f, 132.5f, 192.0f}));
  EXPECT_EQ(x[255], -4.0f);
}

TEST(SpecVectors, Q6_K) {
  BlockQ6_K block{};
  for (int k = 0; k < 128; ++k) block.ql[k] = static_cast<std::uint8_t>(13 * k + 5);
  for (int k = 0; k < 64; ++k) block.qh[k] = static_cast<std::uint8_t>(29 * k + 7);
  for (int k = 0; k < 16; ++k) block.scales[k] = static_cast<std::int8_t>(9 * k - 60);
  block.d = f32_to_f16(0.125f);
  std::vector<float> x(256);
  decode(block, x.data());
  const std::pair<int, float> expected[] = {{0, -157.5f}, {1, 225.0f}, {16, -133.875f}, {32, 57.75f},
                                            {64, 96.0f},  {96, 16.5f}, {128, 31.5f},    {255, -234.375f}};
  for (const auto& [at, value] : expected) EXPECT_EQ(x[static_cast<std::size_t>(at)], value) << at;
}

// ---- the second implementation: where the bits of element l lie, format by format ----

float half_at(const Bytes& b, int at) {
  return f16_to_f32(
      static_cast<std::uint16_t>(b[static_cast<std::size_t>(at)] | b[static_cast<std::size_t>(at) + 1] << 8));
}

// Bits `first` … `first + count - 1` of byte `at`.
int field(const Bytes& b, int at, int first, int count) {
  return b[static_cast<std::size_t>(at)] >> first & ((1 << count) - 1);
}

int nibble32(const Bytes& b, int at, int l) { return field(b, at + l % 16, l < 16 ? 0 : 4, 4); }

float plain_q8_0(const Bytes& b, int l) {
  return half_at(b, 0) * static_cast<float>(static_cast<std::int8_t>(b[static_cast<std::size_t>(2 + l)]));
}
float plain_q4_0(const Bytes& b, int l) { return half_at(b, 0) * static_cast<float>(nibble32(b, 2, l) - 8); }
float plain_q4_1(const Bytes& b, int l) {
  return half_at(b, 0) * static_cast<float>(nibble32(b, 4, l)) + half_at(b, 2);
}
float plain_q5_0(const Bytes& b, int l) {
  return half_at(b, 0) * static_cast<float>(nibble32(b, 6, l) + 16 * field(b, 2 + l / 8, l % 8, 1) - 16);
}
float plain_q5_1(const Bytes& b, int l) {
  return half_at(b, 0) * static_cast<float>(nibble32(b, 8, l) + 16 * field(b, 4 + l / 8, l % 8, 1)) +
         half_at(b, 2);
}
float plain_k_min(const Bytes& b, int l, int q) {
  const int j = l / 32;
  const int s = j < 4 ? field(b, 4 + j, 0, 6) : field(b, 8 + j, 0, 4) + 16 * field(b, j, 6, 2);
  const int m = j < 4 ? field(b, 8 + j, 0, 6) : field(b, 8 + j, 4, 4) + 16 * field(b, 4 + j, 6, 2);
  return half_at(b, 0) * static_cast<float>(s) * static_cast<float>(q) -
         half_at(b, 2) * static_cast<float>(m);
}
float plain_q4_k(const Bytes& b, int l) {
  return plain_k_min(b, l, field(b, 16 + l / 64 * 32 + l % 32, l / 32 % 2 * 4, 4));
}
float plain_q5_k(const Bytes& b, int l) {
  const int low = field(b, 48 + l / 64 * 32 + l % 32, l / 32 % 2 * 4, 4);
  return plain_k_min(b, l, low + 16 * field(b, 16 + l % 32, l / 32, 1));
}
float plain_q6_k(const Bytes& b, int l) {
  const int n = l / 128, r = l / 32 % 4;
  const int low = field(b, 64 * n + 32 * (r % 2) + l % 32, r < 2 ? 0 : 4, 4);
  const int high = field(b, 128 + 32 * n + l % 32, 2 * r, 2);
  const auto scale = static_cast<std::int8_t>(b[static_cast<std::size_t>(192 + l / 16)]);
  return half_at(b, 208) * static_cast<float>(scale) * static_cast<float>(low + 16 * high - 32);
}

struct PlainFormat {
  DType dtype;
  float (*element)(const Bytes&, int);
  std::vector<int> halves;  // where an f16 stands
};

const std::vector<PlainFormat>& plain_formats() {
  static const std::vector<PlainFormat> formats = {
      {DType::kQ8_0, plain_q8_0, {0}},    {DType::kQ4_0, plain_q4_0, {0}},
      {DType::kQ4_1, plain_q4_1, {0, 2}}, {DType::kQ5_0, plain_q5_0, {0}},
      {DType::kQ5_1, plain_q5_1, {0, 2}}, {DType::kQ4_K, plain_q4_k, {0, 2}},
      {DType::kQ5_K, plain_q5_k, {0, 2}}, {DType::kQ6_K, plain_q6_k, {208}}};
  return formats;
}

// 10^6 blocks over all formats, all bits random; only an f16 that is no number is made a number.
TEST(RandomBlocks, DecodeAsThePlainImplementationDoes) {
  std::mt19937 random(1);
  for (const PlainFormat& plain : plain_formats()) {
    const int elems = info(plain.dtype).block_elems;
    Bytes bytes(static_cast<std::size_t>(info(plain.dtype).block_bytes));
    std::vector<float> x(static_cast<std::size_t>(elems));
    for (int i = 0; i < 125000; ++i) {
      for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
      for (const int at : plain.halves) {
        std::uint8_t& upper = bytes[static_cast<std::size_t>(at) + 1];
        if ((upper & 0x7C) == 0x7C) upper &= 0xBF;
      }
      find_format(plain.dtype)->decode_row(bytes.data(), elems, x.data());
      for (int l = 0; l < elems; ++l)
        ASSERT_EQ(x[static_cast<std::size_t>(l)], plain.element(bytes, l))
            << info(plain.dtype).name << " " << l;
    }
  }
}

// Codes of the reference rules in plain words, one element at a time.
int plain_code(DType dtype, const std::vector<float>& x, int l, float* d, float* m) {
  const int levels = dtype == DType::kQ5_0 || dtype == DType::kQ5_1 ? 31 : 15, middle = (levels + 1) / 2;
  const float value = x[static_cast<std::size_t>(l)];
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  if (dtype == DType::kQ8_0) {
    *d = std::max(-*low, *high) / 127;
    return static_cast<int>(std::lround(*d != 0 ? value * (1 / *d) : 0.0f));
  }
  if (dtype == DType::kQ4_0 || dtype == DType::kQ5_0) {
    float widest = 0;
    for (const float v : x) widest = std::fabs(v) > std::fabs(widest) ? v : widest;
    *d = widest / static_cast<float>(-middle);
    const float scaled = *d != 0 ? value * (1 / *d) : 0.0f;
    return std::min(levels, static_cast<int>(scaled + (static_cast<float>(middle) + 0.5f))) - middle;
  }
  *m = *low;
  *d = (*high - *low) / static_cast<float>(levels);
  return std::min(levels, static_cast<int>((*d != 0 ? (value - *m) * (1 / *d) : 0.0f) + 0.5f));
}

TEST(RandomBlocks, EncodeAsThePlainImplementationDoes) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(32), decoded(32);
  Bytes bytes(34);
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
    for (int i = 0; i < 200000; ++i) {
      const float size = std::ldexp(1.0f, static_cast<int>(random() % 40) - 28);
      for (float& v : x) v = random() % 16 ? normal(random) * size : 0.0f;
      find_format(dtype)->encode_row(x.data(), 32, bytes.data());
      find_format(dtype)->decode_row(bytes.data(), 32, decoded.data());
      for (int l = 0; l < 32; ++l) {
        float d = 0, m = 0;
        const int code = plain_code(dtype, x, l, &d, &m);
        const float expected =
            f16_to_f32(f32_to_f16(d)) * static_cast<float>(code) + f16_to_f32(f32_to_f16(m));
        ASSERT_EQ(decoded[static_cast<std::size_t>(l)], expected) << info(dtype).name << " " << l;
      }
    }
  }
}

double error_of(const Format& format, const Bytes& bytes, const std::vector<float>& x, const float* w) {
  std::vector<float> decoded(x.size());
  format.decode_row(bytes.data(), static_cast<std::int64_t>(x.size()), decoded.data());
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double rest = static_cast<double>(x[i]) - decoded[i];
    sum += (w ? w[i] : 1.0) * rest * rest;
  }
  return sum;
}

// Blocks of all kinds: of every size, with outliers, few values, one sign; with and without weights.
TEST(RandomBlocks, TheBestEncoderIsNeverWorseThanTheReference) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const PlainFormat& plain : plain_formats()) {
    const Format& format = *find_format(plain.dtype);
    const auto elems = static_cast<std::size_t>(info(plain.dtype).block_elems);
    Bytes reference(static_cast<std::size_t>(info(plain.dtype).block_bytes)), best(reference.size());
    std::vector<float> x(elems), w(elems);
    for (std::size_t i = 0; i < 200000 / elems; ++i) {
      const float size = std::ldexp(1.0f, static_cast<int>(random() % 48) - 36);
      const float offset = random() % 4 ? 0.0f : normal(random) * 3;
      const bool rounded = random() % 4 == 0;
      for (std::size_t l = 0; l < elems; ++l) {
        const float v = normal(random) * (random() % 32 ? 1.0f : 10.0f) + offset;
        x[l] = size * (rounded ? std::round(v) : v);
        w[l] = random() % 8 ? std::exp(normal(random) * 2) : 0.0f;
      }
      const float* weights = random() % 2 ? w.data() : nullptr;
      format.encode_row(x.data(), static_cast<std::int64_t>(elems), reference.data());
      format.encode_row_best(x.data(), weights, static_cast<std::int64_t>(elems), best.data());
      const double worst = error_of(format, reference, x, weights), ours = error_of(format, best, x, weights);
      // Weights are scaled in float before they are compared.
      ASSERT_LE(ours, worst * (1 + 1e-6)) << info(plain.dtype).name << " block " << i;
    }
  }
}

TEST(Q4_0, MinusZeroAndTheEndsOfTheCodes) {
  std::vector<float> x(32, -0.0f);
  BlockQ4_0 block;
  encode(x.data(), &block);
  EXPECT_EQ(bytes_of(block)[2], 0x88);  // both codes stand for zero
  decode(block, x.data());
  for (const float v : x) EXPECT_EQ(v, 0.0f);

  x.assign(32, 0.0f);
  x[0] = -8;  // the lowest code
  x[1] = 7;   // the highest
  x[2] = 8;   // would be code 16, is clipped to 15
  encode(x.data(), &block);
  EXPECT_EQ(f16_to_f32(block.d), 1.0f);
  EXPECT_EQ(block.qs[0] & 15, 0);
  EXPECT_EQ(block.qs[1] & 15, 15);
  EXPECT_EQ(block.qs[2] & 15, 15);
}

}  // namespace
}  // namespace tessera::quant
