// reliability.md §3.5: what a PNG file may hold, and what is rejected.
#include <filesystem>

#include "models/image/resize.h"
#include "tests/models/files/temp_dir.h"
#include "tests/models/image/pictures.h"

namespace tessera {
namespace {

using testing::decode;
using ::testing::ElementsAre;
using testing::expect_rejected;
using testing::golden_image;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::png_chunk;
using testing::PngParts;

PngParts one_red_pixel() { return {.rows = std::string("\0\xff\0\0", 4)}; }

std::vector<int> pixels(const Image& image) { return {image.rgb.begin(), image.rgb.end()}; }

TEST(Png, ContentDecidesNotTheName) {
  const std::string jpeg = golden_image("exif1.jpg");
  const Image image = decode_image(std::as_bytes(std::span(jpeg)), "picture.png");
  EXPECT_EQ(image.width, 48);
  expect_rejected("", "the file is empty");
  expect_rejected("\x89PNG\n\x1a\n", "not a picture of a known format");
}

TEST(Png, CutAnywhereIsTruncated) {
  const std::string file = golden_image("grey2.png");
  for (std::size_t size = 8; size < file.size(); ++size)
    expect_rejected(file.substr(0, size), "PNG: truncated");
}

TEST(Png, BadChecksumOfACriticalChunkIsAnError) {
  std::string file = one_red_pixel().file();
  file[29] ^= 1;
  expect_rejected(file, "IHDR: CRC error");
  file = one_red_pixel().file();
  file[file.size() - 14] ^= 1;
  expect_rejected(file, "IDAT: CRC error");
}

TEST(Png, BadChecksumOfAnAncillaryChunkIsAWarning) {
  PngParts parts = one_red_pixel();
  parts.before_data = png_chunk("tEXt", "Title\0x");
  parts.before_data.back() ^= 1;
  const Image image = decode(parts.file());
  EXPECT_THAT(pixels(image), ElementsAre(255, 0, 0));
  EXPECT_THAT(image.warnings, ElementsAre(HasSubstr("tEXt: CRC error")));
}

TEST(Png, SizesOverALimitAreRejectedFromTheHeader) {
  const auto header_of = [](std::uint32_t width, std::uint32_t height) {
    return PngParts{.width = width, .height = height}.file();
  };
  expect_rejected(header_of(0, 5), "a side of 0 pixels (got 0x5)");
  expect_rejected(header_of(5, 0), "a side of 0 pixels (got 5x0)");
  expect_rejected(header_of(0x7fffffff, 1), "side of 2147483647 pixels, limit 65535");
  expect_rejected(header_of(0x7fffffff, 0x7fffffff), "side of 2147483647 pixels, limit 65535");
  expect_rejected(header_of(30000, 30000), "900 Mpx, limit 100");
  expect_rejected(header_of(10001, 10000), "10001x10000 is 100.1 Mpx, limit 100");
  expect_rejected(header_of(1, 201), "aspect ratio 201, limit 200");
  expect_rejected(golden_image("rgb8.png"), "file of 16052 bytes, limit 16051", {.file_bytes = 16051});
  expect_rejected(golden_image("rgb8.png"), "side of 100 pixels, limit 99", {.side = 99});
}

TEST(Png, LimitsCanBeRaised) {
  EXPECT_NO_THROW(decode(golden_image("size_1x200.png")));
  const PngParts thin{.width = 1, .height = 300, .colour = 0, .rows = std::string(600, '\0')};
  expect_rejected(thin.file(), "aspect ratio 300, limit 200");
  EXPECT_EQ(decode(thin.file(), {.aspect = 300}).height, 300);
  // 900 Mpx pass the limit here and fail for want of data: no memory was taken for them.
  const PngParts large{.width = 30000, .height = 30000, .rows = std::string(90001, '\0')};
  expect_rejected(large.file(), "Not enough image data", {.pixels = 900'000'000});
}

TEST(Png, DataThatIsShorterOrLongerThanThePictureIsAnError) {
  PngParts parts{.width = 4, .height = 4, .rows = std::string(4 * 13, '\0')};
  EXPECT_NO_THROW(decode(parts.file()));
  parts.rows.pop_back();
  expect_rejected(parts.file(), "PNG: Not enough image data");
  parts.rows += std::string(2, '\0');
  expect_rejected(parts.file(), "PNG: IDAT: Too much image data");
  parts.rows += std::string(20'000'000, '\0');
  expect_rejected(parts.file(), "PNG: IDAT: Too much image data");
  const PngParts interlaced{.width = 8000, .height = 8000, .rows = std::string(3001, '\0'), .interlace = 1};
  expect_rejected(interlaced.file(), "PNG: Not enough image data");
}

TEST(Png, AncillaryChunksAreSkippedUnread) {
  PngParts parts = one_red_pixel();
  // A profile and a text whose streams are no streams at all, and 10^5 tiny chunks.
  parts.before_data =
      png_chunk("iCCP", std::string("p\0\0garbage", 10)) + png_chunk("zTXt", std::string("k\0\0garbage", 10));
  const std::string tiny = png_chunk("tEXt", "");
  for (int i = 0; i < 100'000; ++i) parts.before_data += tiny;
  const Image image = decode(parts.file());
  EXPECT_THAT(pixels(image), ElementsAre(255, 0, 0));
  EXPECT_THAT(image.warnings, IsEmpty());
}

TEST(Png, ChunkLengthsPastTheFormatsLimitAreRejected) {
  expect_rejected(one_red_pixel().header() + "\xff\xff\xff\xffIDAT",
                  "a chunk of 4294967295 bytes, limit 2147483647");
  expect_rejected(one_red_pixel().header() + "\x7f\xff\xff\xffIDAT", "truncated");
}

TEST(Png, StructureErrorsAreRejected) {
  const std::string signature = "\x89PNG\r\n\x1a\n";
  expect_rejected(signature + png_chunk("IEND", ""), "does not begin with a header chunk");
  expect_rejected(one_red_pixel().header() + png_chunk("IEND", ""), "PNG: ");
  PngParts parts = one_red_pixel();
  parts.before_data = png_chunk("ABCD", "");
  expect_rejected(parts.file(), "ABCD: unhandled critical chunk");
}

TEST(Png, IllegalHeadersAreRejected) {
  for (const auto& [depth, colour] : {std::pair{16, 3}, {4, 2}, {1, 6}, {3, 0}, {8, 5}, {0, 0}}) {
    PngParts parts = one_red_pixel();
    parts.depth = depth;
    parts.colour = colour;
    expect_rejected(parts.file(), "Invalid IHDR data");
  }
  PngParts compressed = one_red_pixel();
  compressed.compression = 1;
  expect_rejected(compressed.file(), "Invalid IHDR data");
  PngParts filtered = one_red_pixel();
  filtered.rows[0] = 5;
  expect_rejected(filtered.file(), "bad adaptive filter value");
}

TEST(Png, PalettesOfEveryDepthAreLookedUp) {
  for (const int depth : {1, 2, 4, 8}) {
    PngParts parts{
        .depth = depth, .colour = 3, .rows = std::string(1, '\0') + static_cast<char>(1 << (8 - depth))};
    parts.before_data = png_chunk("PLTE", "abcdef");
    EXPECT_THAT(pixels(decode(parts.file())), ElementsAre('d', 'e', 'f'));
    // Alpha 0 of entry 1: white.
    parts.before_data += png_chunk("tRNS", std::string("\xff\0", 2));
    EXPECT_THAT(pixels(decode(parts.file())), ElementsAre(255, 255, 255));
  }
}

TEST(Png, IndexPastThePaletteAndMissingPaletteAreErrors) {
  PngParts parts{.colour = 3, .rows = std::string("\0\2", 2)};
  expect_rejected(parts.file(), "Missing PLTE");
  parts.before_data = png_chunk("PLTE", "abcdef");
  expect_rejected(parts.file(), "PNG: an index past the end of the palette");
}

// The formula of make_images.py: (v·a + 255·(255 − a) + 127) / 255.
TEST(Png, AlphaIsCompositedOnWhite) {
  EXPECT_THAT(pixels(decode(PngParts{.colour = 6, .rows = std::string("\0\x64\0\xff\x80", 5)}.file())),
              ElementsAre(177, 127, 255));
  EXPECT_THAT(pixels(decode(PngParts{.colour = 4, .rows = std::string("\0\x64\0", 3)}.file())),
              ElementsAre(255, 255, 255));
}

// All 16 bits decide whether a sample is the transparent one, then the high byte stays.
TEST(Png, TransparentColourOf16BitsIsComparedWhole) {
  PngParts parts{.width = 2, .depth = 16, .colour = 0, .rows = std::string("\0\x12\x34\x12\x35", 5)};
  parts.before_data = png_chunk("tRNS", "\x12\x34");
  EXPECT_THAT(pixels(decode(parts.file())), ElementsAre(255, 255, 255, 0x12, 0x12, 0x12));
  PngParts grey{.width = 2, .depth = 2, .colour = 0, .rows = std::string("\0\x60", 2)};
  grey.before_data = png_chunk("tRNS", std::string("\0\1", 2));
  EXPECT_THAT(pixels(decode(grey.file())), ElementsAre(255, 255, 255, 170, 170, 170));
}

struct Pass {
  std::uint32_t x, y, dx, dy;
};

TEST(Png, InterlacedSizesOf1To9GiveTheSamePixels) {
  constexpr Pass kAdam7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                             {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  for (std::uint32_t width = 1; width <= 9; ++width) {
    for (std::uint32_t height = 1; height <= 9; ++height) {
      std::vector<std::uint8_t> rgb(width * height * 3);
      for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(i * 37 + 11);
      std::string rows;
      for (const Pass& pass : kAdam7) {
        for (std::uint32_t y = pass.y; y < height && pass.x < width; y += pass.dy) {
          rows += '\0';
          for (std::uint32_t x = pass.x; x < width; x += pass.dx) {
            for (std::size_t c = 0; c < 3; ++c) rows += static_cast<char>(rgb[(y * width + x) * 3 + c]);
          }
        }
      }
      const PngParts parts{.width = width, .height = height, .rows = rows, .interlace = 1};
      EXPECT_EQ(decode(parts.file()).rgb, rgb) << width << "x" << height;
    }
  }
}

TEST(Png, OnePixelBecomesTheSmallestGrid) {
  const Image image = decode(golden_image("size_1x1.png"));
  EXPECT_EQ(smart_resize({image.width, image.height}, {4096, 16777216, 32}), (ImageSize{64, 64}));
}

TEST(Png, AnimationGivesItsFirstFrameAndAWarning) {
  PngParts parts = one_red_pixel();
  parts.before_data = png_chunk("acTL", std::string("\0\0\0\2\0\0\0\0", 8));
  const Image image = decode(parts.file());
  EXPECT_THAT(pixels(image), ElementsAre(255, 0, 0));
  EXPECT_THAT(image.warnings, ElementsAre(HasSubstr("only the first frame")));
}

TEST(Png, OrientationInAnExifChunkIsApplied) {
  // Red left of blue, to be turned by 90 degrees to the right: red above blue.
  PngParts parts{.width = 2, .rows = std::string("\0\xff\0\0\0\0\xff", 7)};
  parts.before_data = png_chunk("eXIf", std::string("MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0", 22));
  const Image image = decode(parts.file());
  EXPECT_EQ(image.width, 1);
  EXPECT_EQ(image.height, 2);
  EXPECT_THAT(pixels(image), ElementsAre(255, 0, 0, 0, 0, 255));
}

TEST(Png, FlatPicturesStayFlatWhenResized) {
  for (const char level : {'\0', '\x7f', '\xff'}) {
    std::string rows;
    for (int y = 0; y < 7; ++y) rows += '\0' + std::string(5 * 3, level);
    const Image image = decode(PngParts{.width = 5, .height = 7, .rows = rows}.file());
    EXPECT_THAT(resize_bicubic(image, {64, 96}).rgb, ::testing::Each(static_cast<unsigned char>(level)));
  }
}

class WritePng : public ::testing::Test {
 protected:
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  const testing::TempDir dir_;
  const std::filesystem::path folder_ = dir_.path();
};

TEST_F(WritePng, WhatIsWrittenIsReadBack) {
  const Image image = decode(golden_image("rgb8.png"));
  const std::string path = folder_ / "out.png";
  write_png(path, Image{1, 1, {1, 2, 3}, {}});
  write_png(path, image);
  EXPECT_EQ(read_image(path).rgb, image.rgb);
  EXPECT_EQ(files(), 1u);
}

void expect_output_error(const std::string& path, const Image& image, ErrorCode code) {
  try {
    write_png(path, image);
    ADD_FAILURE() << "written";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
  }
}

TEST_F(WritePng, FailuresLeaveNothingBehind) {
  const Image image{1, 1, {1, 2, 3}, {}};
  expect_output_error(folder_ / "missing" / "out.png", image, ErrorCode::kOutput);
  std::filesystem::create_directories(folder_ / "taken" / "full");
  expect_output_error(folder_ / "taken", image, ErrorCode::kOutput);
  expect_output_error(folder_ / "out.png", Image{2, 2, {1, 2, 3}, {}}, ErrorCode::kUsage);
  EXPECT_EQ(files(), 1u);
}

}  // namespace
}  // namespace tessera
