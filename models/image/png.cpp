#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "models/image/decoders.h"
#include "models/image/exif.h"
#include "models/image/limits.h"
#include "tensor/error.h"

namespace tessera {
namespace {

constexpr std::size_t kSignatureBytes = 8;
constexpr std::size_t kMessageBytes = 200;
constexpr std::uint32_t kMaxChunk = 0x7fffffff;  // PNG specification §5.3

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

struct PngLayout {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  bool animated = false;
  std::span<const std::byte> exif;
};

std::uint32_t big_endian(const std::byte* p) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(p[i]);
  return value;
}

[[noreturn]] void fail(const PictureSource& source, const std::string& reason) {
  throw Error(ErrorCode::kInput, source.name, "PNG", reason);
}

// Walks the chunks to the end, so that a cut file is rejected before anything is decoded.
PngLayout read_layout(const PictureSource& source) {
  constexpr std::size_t kChunkHeader = 8, kChunkCheck = 4, kIhdrBytes = 13;
  const std::span<const std::byte> bytes = source.bytes;
  PngLayout layout;
  for (std::size_t at = kSignatureBytes;;) {
    if (bytes.size() - at < kChunkHeader) fail(source, "truncated");
    const std::uint32_t length = big_endian(bytes.data() + at);
    if (length > kMaxChunk) {
      fail(source,
           "damaged: a chunk of " + std::to_string(length) + " bytes, limit " + std::to_string(kMaxChunk));
    }
    if (bytes.size() - at < kChunkHeader + kChunkCheck + length) fail(source, "truncated");
    const auto type_is = [&](const char* type) { return std::memcmp(bytes.data() + at + 4, type, 4) == 0; };
    const std::span<const std::byte> payload = bytes.subspan(at + kChunkHeader, length);
    if (at == kSignatureBytes) {
      if (!type_is("IHDR") || length != kIhdrBytes)
        fail(source, "damaged: does not begin with a header chunk");
      layout.width = big_endian(payload.data());
      layout.height = big_endian(payload.data() + 4);
    }
    if (type_is("IEND")) return layout;
    if (type_is("acTL")) layout.animated = true;
    if (type_is("eXIf")) layout.exif = payload;
    at += kChunkHeader + kChunkCheck + length;
  }
}

// The decoder with all that must outlive a jump out of it.
struct PngDecoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::jmp_buf jump{};
  std::span<const std::byte> left;
  char message[kMessageBytes] = {};
  char warning[kMessageBytes] = {};  // the first one
  // One row, or all rows of an interlaced picture: from calloc, so that rows never decoded take no memory.
  std::unique_ptr<png_byte, FreeMemory> rows;
  png_colorp palette = nullptr;
  png_bytep palette_alpha = nullptr;
  int palette_size = 0;
  int palette_alpha_size = 0;

  PngDecoder() = default;
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png, &info, nullptr); }
};

void keep_message(char (&to)[kMessageBytes], const char* text) { std::strncpy(to, text, kMessageBytes - 1); }

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* decoder = static_cast<PngDecoder*>(png_get_error_ptr(png));
  keep_message(decoder->message, text);
  std::longjmp(decoder->jump, 1);
}

void on_warning(png_structp png, png_const_charp text) {
  auto* decoder = static_cast<PngDecoder*>(png_get_error_ptr(png));
  if (decoder->warning[0] == '\0') keep_message(decoder->warning, text);
}

void on_read(png_structp png, png_bytep to, std::size_t size) {
  auto* decoder = static_cast<PngDecoder*>(png_get_io_ptr(png));
  if (decoder->left.size() < size) png_error(png, "truncated");
  std::memcpy(to, decoder->left.data(), size);
  decoder->left = decoder->left.subspan(size);
}

// Asks for 8-bit RGB or RGBA rows, or for one index a byte. Palettes are looked up here, not by libpng, which
// reads an index past the palette as black.
void set_transformations(PngDecoder& decoder) {
  png_structp png = decoder.png;
  const int colour = png_get_color_type(png, decoder.info);
  if (colour == PNG_COLOR_TYPE_PALETTE) {
    png_set_packing(png);
    png_get_PLTE(png, decoder.info, &decoder.palette, &decoder.palette_size);
    png_get_tRNS(png, decoder.info, &decoder.palette_alpha, &decoder.palette_alpha_size, nullptr);
  } else {
    if (png_get_valid(png, decoder.info, PNG_INFO_tRNS) != 0) png_set_tRNS_to_alpha(png);
    if ((colour & PNG_COLOR_MASK_COLOR) == 0) {
      png_set_expand_gray_1_2_4_to_8(png);
      png_set_gray_to_rgb(png);
    }
    png_set_strip_16(png);
  }
}

// False when the row holds an index past the palette.
bool append_indexed(const PngDecoder& decoder, const png_byte* row, int width,
                    std::vector<std::uint8_t>* rgb) {
  for (int x = 0; x < width; ++x) {
    const int index = row[x];
    if (index >= decoder.palette_size) return false;
    const unsigned alpha = index < decoder.palette_alpha_size ? decoder.palette_alpha[index] : 255;
    const png_color& colour = decoder.palette[index];
    for (const unsigned value : {colour.red, colour.green, colour.blue})
      rgb->push_back(over_white(value, alpha));
  }
  return true;
}

bool append_row(PngDecoder& decoder, const png_byte* row, std::size_t row_bytes, Image& image) {
  const int channels = png_get_channels(decoder.png, decoder.info);
  if (channels == 1) {
    if (append_indexed(decoder, row, image.width, &image.rgb)) return true;
    keep_message(decoder.message, "an index past the end of the palette");
    return false;
  }
  if (channels == 4) {
    append_rgba({row, row_bytes}, &image.rgb);
  } else {
    image.rgb.insert(image.rgb.end(), row, row + row_bytes);
  }
  return true;
}

// False with decoder.message set when the decoder gave up. No object with a destructor lives in a frame that
// on_error jumps over.
bool decode_rows(PngDecoder& decoder, Image& image) {
  if (setjmp(decoder.jump) != 0) return false;
  png_structp png = decoder.png;
  png_set_read_fn(png, &decoder, on_read);
  png_set_user_limits(png, kMaxChunk, kMaxChunk);  // ours are checked before
  png_set_benign_errors(png, 0);                   // too much data is an error too
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr,
                              -1);  // text, profiles, gamma: never inflated
  png_read_info(png, decoder.info);
  set_transformations(decoder);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, decoder.info);
  const std::size_t row_bytes = png_get_rowbytes(png, decoder.info);
  const auto height = static_cast<std::size_t>(image.height);
  decoder.rows.reset(static_cast<png_byte*>(std::calloc(passes > 1 ? height : 1, row_bytes)));
  if (decoder.rows == nullptr) png_error(png, "out of memory");
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t y = 0; y < height; ++y) {
      png_bytep row = decoder.rows.get() + (passes > 1 ? y * row_bytes : 0);
      png_read_row(png, row, nullptr);
      if (pass + 1 == passes && !append_row(decoder, row, row_bytes, image)) return false;
    }
  }
  png_read_end(png, nullptr);
  return true;
}

}  // namespace

Image decode_png(const PictureSource& source) {
  const PngLayout layout = read_layout(source);
  check_size(layout.width, layout.height, source.name, "PNG", source.limits);
  Image image = reserve_image(static_cast<int>(layout.width), static_cast<int>(layout.height));
  PngDecoder decoder;
  decoder.left = source.bytes;
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, on_error, on_warning);
  decoder.info = decoder.png != nullptr ? png_create_info_struct(decoder.png) : nullptr;
  if (decoder.info == nullptr)
    throw Error(ErrorCode::kResource, source.name, "PNG", "no memory for the decoder");
  if (!decode_rows(decoder, image)) fail(source, decoder.message);
  if (layout.animated) image.warnings.emplace_back("animated PNG: only the first frame is used");
  if (decoder.warning[0] != '\0') image.warnings.push_back(escape(decoder.warning));
  return upright(std::move(image), exif_orientation(layout.exif));
}

}  // namespace tessera
