// Helpers for tests on pictures: files in memory, PNG files made by hand, and the cost of a rejection.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "models/image/image.h"
#include "tensor/error.h"
#include "tests/golden.h"

namespace tessera::testing {

inline std::string load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string golden_image(const std::string& name) { return load(golden("images/" + name)); }

inline Image decode(const std::string& bytes, const ImageLimits& limits = {}) {
  return decode_image(std::as_bytes(std::span(bytes)), "test.img", limits);
}

inline std::string big_endian(std::uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 255);
  return text;
}

inline std::uint32_t crc32(std::string_view data) {
  std::uint32_t crc = ~0u;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

// A zlib stream of stored blocks.
inline std::string zlib_stored(std::string_view data) {
  std::string out("\x78\x01", 2);
  std::uint32_t a = 1, b = 0;
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  do {
    const std::string_view block = data.substr(0, 65535);
    data.remove_prefix(block.size());
    const auto n = static_cast<unsigned>(block.size());
    out += data.empty() ? '\1' : '\0';
    for (const unsigned v : {n, ~n}) out += {static_cast<char>(v & 255), static_cast<char>(v >> 8 & 255)};
    out += block;
  } while (!data.empty());
  return out + big_endian(b << 16 | a);
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + type + data + big_endian(crc32(type + data));
}

// A PNG file of the given parts. rows holds filtered rows, that is, with a filter byte before each.
struct PngParts {
  std::uint32_t width = 1;
  std::uint32_t height = 1;
  int depth = 8;
  int colour = 2;
  std::string rows = {};
  std::string before_data = {};  // whole chunks
  int interlace = 0;
  int compression = 0;

  std::string header() const {
    std::string ihdr = big_endian(width) + big_endian(height);
    for (const int v : {depth, colour, compression, 0, interlace}) ihdr += static_cast<char>(v);
    return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", ihdr);
  }
  std::string file() const {
    return header() + before_data + png_chunk("IDAT", zlib_stored(rows)) + png_chunk("IEND", "");
  }
};

// Highest resident size since the last reset, in KiB.
inline long peak_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib;
  }
  return 0;
}

// AddressSanitizer takes time and memory of its own.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Decoding fails as reliability.md §3.0 asks: kInput, a reason that holds `reason`, in under a second, with
// under 64 MiB more memory than before.
inline void expect_rejected(const std::string& bytes, const std::string& reason,
                            const ImageLimits& limits = {}) {
  std::ofstream("/proc/self/clear_refs") << "5";
  const long before = peak_kib();
  const auto start = std::chrono::steady_clock::now();
  try {
    const Image image = decode(bytes, limits);
    ADD_FAILURE() << "accepted as " << image.width << "x" << image.height << ", expected: " << reason;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInput) << e.what();
    EXPECT_EQ(e.file(), "test.img");
    EXPECT_THAT(e.what(), ::testing::HasSubstr(reason));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!kSanitized) {
    EXPECT_LT(seconds, 1.0);
    EXPECT_LT(peak_kib() - before, 64 * 1024);
  }
}

}  // namespace tessera::testing
