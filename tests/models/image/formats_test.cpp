// reliability.md §3.6, J10 to J12: other formats, and files that are no plain files. WebP besides.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/models/files/temp_dir.h"
#include "tests/models/image/pictures.h"

namespace tessera {
namespace {

using testing::decode;
using testing::expect_rejected;
using testing::golden_image;
using ::testing::HasSubstr;

TEST(Formats, OthersAreNamed) {
  const std::pair<std::string, std::string> files[] = {
      {"GIF89a", "GIF"},
      {"BM\x36\x10", "BMP"},
      {std::string("II*\0\x08", 5), "TIFF"},
      {std::string("MM\0*\0\0", 6), "TIFF"},
      {"%PDF-1.7", "PDF"},
      {std::string("\0\0\0\x18"
                   "ftypheic",
                   12),
       "HEIC"},
      {std::string("\0\0\0\x18"
                   "ftypmif1",
                   12),
       "HEIC"},
      {std::string("\0\0\0\x18"
                   "ftypavif",
                   12),
       "AVIF"},
      {std::string("\0\0\0\x18"
                   "ftypisom",
                   12),
       "MP4"},
      {"<?xml version=\"1.0\"?>\n<!-- a -->\n<svg width=\"1\">", "SVG"},
  };
  for (const auto& [bytes, format] : files) {
    expect_rejected(bytes, "format " + format + " not supported (PNG, JPEG");
    expect_rejected(bytes + std::string(1000, ' '), "format " + format + " not supported (PNG, JPEG");
  }
}

TEST(Formats, UnknownOnesAreRejected) {
  for (const std::string& bytes : {std::string("x"), std::string("hello world"), std::string(5000, '\0')}) {
    expect_rejected(bytes, "not a picture of a known format (PNG, JPEG");
  }
}

bool has_webp() {
  try {
    decode(golden_image("lossless.webp"));
    return true;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInput);
    EXPECT_THAT(e.what(), HasSubstr("WebP not supported by this build"));
    return false;
  }
}

std::string little_endian(std::uint32_t value) {
  const std::string text = testing::big_endian(value);
  return {text.rbegin(), text.rend()};
}

std::string riff(const std::string& chunks) {
  return "RIFF" + little_endian(static_cast<std::uint32_t>(chunks.size() + 4)) + "WEBP" + chunks;
}

TEST(WebP, DamagedFilesAreRejected) {
  if (!has_webp()) return;
  for (const char* name : {"lossless.webp", "lossless_alpha.webp", "lossy.webp"}) {
    const std::string file = golden_image(name);
    for (std::size_t size = 12; size < file.size(); size += 301)
      expect_rejected(file.substr(0, size), "WebP: ");
    expect_rejected(file, "pixels, limit 99", {.side = 99});
  }
  expect_rejected(riff("XXXX" + little_endian(4) + "abcd"), "WebP: ");
}

// A 16383x6000 picture of 12 bytes.
TEST(WebP, LargeHeadersWithLittleDataTakeLittleMemory) {
  if (!has_webp()) return;
  const std::uint32_t size = (16383u - 1) | (6000u - 1) << 14;
  expect_rejected(riff("VP8L" + little_endian(12) + "\x2f" + little_endian(size) + std::string(7, '\0')),
                  "WebP: ");
}

TEST(WebP, OrientationInAnExifChunkIsApplied) {
  if (!has_webp()) return;
  const std::string file = golden_image("lossless.webp");
  const std::string exif("MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\3\0\0", 22);
  const std::string head = std::string("\x08\0\0\0", 4) + std::string("\x63\0\0\x4a\0\0", 6);
  const Image turned =
      decode(riff("VP8X" + little_endian(10) + head + file.substr(12) + "EXIF" + little_endian(22) + exif));
  const Image stored = decode(file);
  ASSERT_EQ(turned.rgb.size(), stored.rgb.size());
  const std::size_t count = stored.rgb.size() / 3;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t c = 0; c < 3; ++c) ASSERT_EQ(turned.rgb[i * 3 + c], stored.rgb[(count - 1 - i) * 3 + c]);
  }
}

TEST(WebP, AnimationsAreRejected) {
  if (!has_webp()) return;
  const std::string head = std::string("\x02\0\0\0", 4) + std::string("\x63\0\0\x4a\0\0", 6);
  expect_rejected(riff("VP8X" + little_endian(10) + head + "ANIM" + little_endian(6) + std::string(6, '\0')),
                  "animated pictures are not supported");
}

class Files : public ::testing::Test {
 protected:
  static void expect_unreadable(const std::string& path, const std::string& reason) {
    try {
      read_image(path);
      ADD_FAILURE() << path << " was read, expected: " << reason;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInput);
      EXPECT_EQ(e.file(), path);
      EXPECT_THAT(e.what(), HasSubstr(reason));
    }
  }
  const testing::TempDir dir_;
  const std::filesystem::path folder_ = dir_.path();
};

TEST_F(Files, OnlyRegularOnesAreRead) {
  expect_unreadable(folder_ / "missing.png", "cannot open: No such file or directory");
  expect_unreadable("", "cannot open: No such file or directory");
  expect_unreadable(folder_, "is a directory");
  expect_unreadable("/dev/zero", "is not a regular file");
  const std::string fifo = folder_ / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  expect_unreadable(fifo, "is not a regular file");
}

TEST_F(Files, LargeOnesAreRejectedUnread) {
  const std::string path = folder_ / "large.png";
  std::ofstream(path) << "\x89PNG";
  std::filesystem::resize_file(path, 10'000'000'000);
  expect_unreadable(path, "file of 10000000000 bytes, limit 67108864");
}

TEST_F(Files, UnreadableOnesAreRejected) {
  if (geteuid() == 0) GTEST_SKIP() << "root reads everything";
  const std::string path = folder_ / "secret.png";
  std::ofstream(path) << "x";
  std::filesystem::permissions(path, std::filesystem::perms::none);
  expect_unreadable(path, "cannot open: Permission denied");
}

// sysfs reports a page for files that hold a few bytes.
TEST_F(Files, ThatShrinkWhileBeingReadAreRejected) {
  const std::string path = "/sys/devices/system/cpu/online";
  if (!std::filesystem::is_regular_file(path)) GTEST_SKIP() << "needs " << path;
  expect_unreadable(path, "the file shrank while it was read (got ");
}

}  // namespace
}  // namespace tessera
