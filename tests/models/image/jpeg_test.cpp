// reliability.md §3.6, J1 to J9: what a JPEG file may hold, and what is rejected.
#include "tests/models/image/pictures.h"

namespace tessera {
namespace {

using testing::decode;
using testing::expect_rejected;
using testing::golden_image;

// Where marker 0xFF `code` begins, at or after `from`.
std::size_t marker(const std::string& file, unsigned char code, std::size_t from = 0) {
  const std::size_t at = file.find(std::string("\xff") + static_cast<char>(code), from);
  EXPECT_NE(at, std::string::npos);
  return at;
}

constexpr unsigned char kSof0 = 0xC0, kSos = 0xDA, kEoi = 0xD9, kApp1 = 0xE1, kApp14 = 0xEE;

// A file with bytes of its frame header changed: precision at 4, height at 5, width at 7, components at 9.
std::string with_frame(std::string file, std::size_t offset, const std::string& bytes) {
  return file.replace(marker(file, kSof0) + offset, bytes.size(), bytes);
}

std::string segment(unsigned char code, const std::string& payload) {
  const std::size_t size = payload.size() + 2;
  return std::string{'\xff', static_cast<char>(code), static_cast<char>(size >> 8),
                     static_cast<char>(size & 255)} +
         payload;
}

TEST(Jpeg, CutFilesAreRejected) {
  for (const char* name : {"exif1.jpg", "progressive.jpg"}) {
    const std::string file = golden_image(name);
    for (std::size_t size = 3; size < file.size(); size += 7) expect_rejected(file.substr(0, size), "JPEG: ");
    expect_rejected(file.substr(0, file.size() - 2), "JPEG: Premature end of JPEG file");
  }
}

TEST(Jpeg, DamagedScanDataIsRejected) {
  const std::string file = golden_image("baseline_444.jpg");
  const std::size_t data = marker(file, kSos) + 14;
  std::string damaged = file;
  for (std::size_t i = 0; i < 30; ++i) damaged.replace(data + 500 + 2 * i, 2, std::string("\xff\0", 2));
  expect_rejected(damaged, "JPEG: Corrupt JPEG data: ");
  damaged = file;
  expect_rejected(damaged.insert(data + 500, "\xff\xd3"),
                  "JPEG: Corrupt JPEG data: premature end of data segment");
}

TEST(Jpeg, WrongRestartMarkersAreRejected) {
  std::string file = golden_image("more/restart.jpg");
  file[marker(file, 0xD3) + 1] = '\xd6';
  expect_rejected(file, "JPEG: Corrupt JPEG data: found marker 0xd6 instead of RST3");
}

TEST(Jpeg, SizesOverALimitAreRejectedFromTheHeader) {
  const std::string file = golden_image("baseline_444.jpg");
  const std::string head = file.substr(0, marker(file, kSos));
  expect_rejected(with_frame(head, 5, "\xff\xff\xff\xff"), "65535x65535 is 4294.9 Mpx, limit 100");
  expect_rejected(with_frame(file, 5, std::string("\0\1\0\xc9", 4)), "aspect ratio 201, limit 200");
  expect_rejected(with_frame(file, 5, std::string("\0\0", 2)), "a side of 0 pixels (got 161x0)");
}

TEST(Jpeg, LargeHeadersWithLittleDataTakeLittleMemory) {
  for (const char* name : {"baseline_444.jpg", "progressive.jpg"}) {
    std::string file = golden_image(name);
    const unsigned char frame = name[0] == 'p' ? 0xC2 : kSof0;
    file.replace(marker(file, frame) + 5, 4, "\x27\x10\x27\x10");
    expect_rejected(file, "JPEG: ");
  }
}

TEST(Jpeg, MoreThan500ScansAreRejected) {
  const std::string file = golden_image("progressive.jpg");
  const std::size_t first = marker(file, kSos), second = marker(file, kSos, first + 1);
  std::string scans;
  for (int i = 0; i < 10'000; ++i) scans += file.substr(first, second - first);
  expect_rejected(file.substr(0, first) + scans + file.substr(second), "scans, limit 500");
}

TEST(Jpeg, OtherCodingsAreNotSupported) {
  const std::string file = golden_image("baseline_444.jpg");
  expect_rejected(with_frame(file, 4, "\x0c"), "samples of 12 bits not supported");
  expect_rejected(with_frame(file, 1, "\xc3"), "coding process SOF3 not supported");
  expect_rejected(with_frame(file, 1, "\xc9"), "coding process SOF9 not supported");
}

TEST(Jpeg, StructureErrorsAreRejected) {
  const std::string file = golden_image("baseline_444.jpg");
  expect_rejected(with_frame(file, 9, std::string("\0", 1)), "got 0 components, expected 1, 3 or 4");
  expect_rejected(with_frame(file, 9, "\x05"), "got 5 components, expected 1, 3 or 4");
  expect_rejected(with_frame(file, 9, "\x04"), "JPEG: ");
  expect_rejected("\xff\xd8" + file, "JPEG: ");
  expect_rejected("\xff\xd8\xff\xd9", "no frame header");
  // A second frame header, larger than the one that was checked.
  const std::size_t frame = marker(file, kSof0);
  const std::string second = with_frame(file, 5, "\x7f\xff\x7f\xff").substr(frame, 19);
  expect_rejected(file.substr(0, marker(file, kSos)) + second + file.substr(marker(file, kSos)), "JPEG: ");
}

// Pillow takes any CMYK for Adobe's inverted one.
TEST(Jpeg, CmykWithoutAdobeMarkerIsReadAlike) {
  std::string file = golden_image("cmyk_adobe.jpg");
  const std::size_t adobe = marker(file, kApp14);
  const std::vector<std::uint8_t> expected = decode(file).rgb;
  EXPECT_EQ(decode(file.erase(adobe, 16)).rgb, expected);
}

TEST(Jpeg, DamagedExifCountsAsAbsent) {
  const std::string upright = golden_image("exif1.jpg"), turned = golden_image("exif6.jpg");
  const std::vector<std::uint8_t> expected = decode(upright).rgb;
  ASSERT_NE(decode(turned).rgb, expected);
  const std::size_t tiff = turned.find(std::string("Exif\0\0", 6)) + 6;
  const std::string head = turned.substr(tiff, 8);
  const bool big = head[0] == 'M';
  const auto number = [&](std::string bytes) {
    return big ? bytes : std::string(bytes.rbegin(), bytes.rend());
  };
  const std::size_t entry = tiff + 10;
  const auto damaged = [&](std::size_t at, const std::string& bytes) {
    std::string file = turned;
    return decode(file.replace(at, bytes.size(), bytes)).rgb;
  };
  EXPECT_EQ(damaged(tiff, "XX"), expected);                                   // no byte order
  EXPECT_EQ(damaged(tiff + 2, number(std::string("\0\x2b", 2))), expected);   // no TIFF
  EXPECT_EQ(damaged(tiff + 4, "\xff\xff\xff\xff"), expected);                 // directory far outside
  EXPECT_EQ(damaged(entry + 8, number(std::string("\0\x09", 2))), expected);  // orientation 9
  EXPECT_EQ(damaged(entry + 8, number(std::string("\0\0", 2))), expected);    // orientation 0
  EXPECT_EQ(damaged(entry + 2, number(std::string("\0\x02", 2))), expected);  // a text
  EXPECT_EQ(damaged(entry + 4, "\xff\xff\xff\xff"), expected);                // 2^32 − 1 of them
  // A directory of 65535 entries that is its own first entry, and a cut one.
  EXPECT_EQ(damaged(tiff + 4, number(std::string("\0\0\0\0", 4))), expected);
  const std::size_t app1 = marker(turned, kApp1), size = turned.find("\xff", app1 + 1) - app1;
  const std::string rest = turned.substr(app1 + size);
  for (std::size_t keep = 0; keep < 18; ++keep) {
    const std::string cut = segment(kApp1, std::string("Exif\0\0", 6) + turned.substr(tiff, keep));
    EXPECT_EQ(decode(turned.substr(0, app1) + cut + rest).rgb, expected) << keep;
  }
}

TEST(Jpeg, ManyLargeApplicationSegmentsAreSkipped) {
  const std::string file = golden_image("exif1.jpg");
  std::string padded = file.substr(0, 2);
  for (int i = 0; i < 300; ++i) padded += segment(kApp1, std::string(65000, 'x'));
  EXPECT_EQ(decode(padded + file.substr(2)).rgb, decode(file).rgb);
}

TEST(Jpeg, WhatFollowsThePictureIsIgnored) {
  const std::string file = golden_image("exif1.jpg");
  EXPECT_EQ(decode(file + "PK\x03\x04 a ZIP file").rgb, decode(file).rgb);
  EXPECT_EQ(marker(file, kEoi), file.size() - 2);
}

}  // namespace
}  // namespace tessera
