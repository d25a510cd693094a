// jpeglib.h needs FILE and size_t before it.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>

#include "models/image/decoders.h"
#include "models/image/exif.h"
#include "models/image/limits.h"
#include "tensor/error.h"

namespace tessera {
namespace {

constexpr std::size_t kMaxScans = 500;  // a progressive photo has about 10
constexpr unsigned kSoi = 0xD8, kEoi = 0xD9, kSos = 0xDA, kApp1 = 0xE1;

// What the markers say, read before the decoder sees the file.
struct JpegLayout {
  std::size_t scans = 0;
  std::span<const std::byte> exif;
  unsigned frame_marker = 0;  // SOFn, 0 when there is none
  unsigned precision = 0;
  std::uint64_t height = 0;
  std::uint64_t width = 0;
  unsigned components = 0;
};

bool is_frame_marker(unsigned marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

bool has_no_segment(unsigned marker) { return marker <= 1 || (marker >= 0xD0 && marker <= kSoi); }

// Walks from marker to marker up to the end of the picture; entropy-coded data is passed over, since it holds
// no 0xFF that is not followed by 0 or a restart marker. Stops where the file does: the decoder reports that.
JpegLayout read_layout(std::span<const std::byte> bytes) {
  JpegLayout layout;
  const auto byte = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  std::size_t at = 2;
  while (at < bytes.size()) {
    at = static_cast<std::size_t>(
        std::find(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), std::byte{0xFF}) -
        bytes.begin());
    while (at < bytes.size() && byte(at) == 0xFF) ++at;
    if (at >= bytes.size()) break;
    const unsigned marker = byte(at++);
    if (has_no_segment(marker)) continue;
    if (marker == kEoi || bytes.size() - at < 2) break;
    const std::size_t length = byte(at) << 8 | byte(at + 1);
    if (length < 2 || length > bytes.size() - at) break;
    const auto segment = bytes.subspan(at + 2, length - 2);
    if (marker == kSos) ++layout.scans;
    if (marker == kApp1 && layout.exif.empty() && segment.size() > 6 &&
        std::memcmp(segment.data(), "Exif\0", 6) == 0) {
      layout.exif = segment;
    }
    if (is_frame_marker(marker) && layout.frame_marker == 0 && segment.size() >= 6) {
      layout.frame_marker = marker;
      layout.precision = byte(at + 2);
      layout.height = byte(at + 3) << 8 | byte(at + 4);
      layout.width = byte(at + 5) << 8 | byte(at + 6);
      layout.components = byte(at + 7);
    }
    at += length;
  }
  return layout;
}

// The decoder with all that must outlive a jump out of it. manager comes first: libjpeg hands it back.
struct JpegDecoder {
  jpeg_error_mgr manager{};
  jpeg_decompress_struct info{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX] = {};
  std::vector<std::uint8_t> row;

  JpegDecoder() = default;
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&info); }
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* decoder = reinterpret_cast<JpegDecoder*>(info->err);
  info->err->format_message(info, decoder->message);
  std::longjmp(decoder->jump, 1);
}

// Level -1 is a warning: data is damaged and the decoder would make something up.
void on_message(j_common_ptr info, int level) {
  if (level < 0) on_error(info);
}

// Adobe stores ink inverted: 255 is none. Each sample times black, rounded to nearest.
void append_cmyk(const std::vector<std::uint8_t>& row, std::vector<std::uint8_t>* rgb) {
  for (std::size_t i = 0; i + 4 <= row.size(); i += 4) {
    const unsigned black = row[i + 3];
    for (std::size_t c = 0; c < 3; ++c)
      rgb->push_back(static_cast<std::uint8_t>((row[i + c] * black + 127) / 255));
  }
}

// False with decoder.message set when the decoder gave up. No object with a destructor lives in a frame that
// on_error jumps over.
bool decode_rows(JpegDecoder& decoder, std::span<const std::byte> bytes, Image& image) {
  if (setjmp(decoder.jump) != 0) return false;
  jpeg_decompress_struct& info = decoder.info;
  info.err = jpeg_std_error(&decoder.manager);
  decoder.manager.error_exit = on_error;
  decoder.manager.emit_message = on_message;
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  if (info.image_width != static_cast<JDIMENSION>(image.width) ||
      info.image_height != static_cast<JDIMENSION>(image.height)) {
    std::strncpy(decoder.message, "two frame headers", JMSG_LENGTH_MAX - 1);
    return false;
  }
  // The other settings stay at libjpeg's defaults, as in Pillow: exact integer DCT, smooth upsampling.
  info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  decoder.row.resize(static_cast<std::size_t>(info.output_width) *
                     static_cast<std::size_t>(info.output_components));
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = decoder.row.data();
    jpeg_read_scanlines(&info, &row, 1);
    if (info.num_components == 4) {
      append_cmyk(decoder.row, &image.rgb);
    } else {
      image.rgb.insert(image.rgb.end(), decoder.row.begin(), decoder.row.end());
    }
  }
  jpeg_finish_decompress(&info);
  return true;
}

}  // namespace

Image decode_jpeg(const PictureSource& source) {
  const auto fail = [&](const std::string& reason) {
    throw Error(ErrorCode::kInput, source.name, "JPEG", reason);
  };
  const JpegLayout layout = read_layout(source.bytes);
  if (layout.frame_marker == 0) fail("no frame header: truncated or damaged");
  if (layout.frame_marker > 0xC2) {
    fail("coding process SOF" + std::to_string(layout.frame_marker - 0xC0) +
         " not supported (expected baseline, extended or progressive Huffman coding)");
  }
  if (layout.precision != 8) {
    fail("samples of " + std::to_string(layout.precision) + " bits not supported (expected 8)");
  }
  if (layout.components != 1 && layout.components != 3 && layout.components != 4) {
    fail("unknown colours (got " + std::to_string(layout.components) + " components, expected 1, 3 or 4)");
  }
  check_size(layout.width, layout.height, source.name, "JPEG", source.limits);
  if (layout.scans > kMaxScans) {
    fail(std::to_string(layout.scans) + " scans, limit " + std::to_string(kMaxScans));
  }
  Image image = reserve_image(static_cast<int>(layout.width), static_cast<int>(layout.height));
  JpegDecoder decoder;
  if (!decode_rows(decoder, source.bytes, image)) fail(decoder.message);
  return upright(std::move(image), exif_orientation(layout.exif));
}

}  // namespace tessera
