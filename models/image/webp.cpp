#include <webp/decode.h>

#include <cstring>
#include <memory>
#include <string_view>

#include "models/image/decoders.h"
#include "models/image/exif.h"
#include "models/image/limits.h"
#include "tensor/error.h"

namespace tessera {
namespace {

struct WebpFree {
  void operator()(std::uint8_t* pixels) const { WebPFree(pixels); }
};

std::uint32_t little_endian(const std::byte* p) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | std::to_integer<std::uint32_t>(p[i]);
  return value;
}

// The payload of the RIFF file's EXIF chunk, or nothing. Chunks are padded to even sizes.
std::span<const std::byte> find_exif(std::span<const std::byte> bytes) {
  constexpr std::size_t kRiffHeader = 12, kChunkHeader = 8;
  for (std::size_t at = kRiffHeader; bytes.size() - at > kChunkHeader;) {
    const std::size_t left = bytes.size() - at - kChunkHeader;
    const std::size_t size = little_endian(bytes.data() + at + 4);
    if (size > left) break;
    if (std::memcmp(bytes.data() + at, "EXIF", 4) == 0) return bytes.subspan(at + kChunkHeader, size);
    if (size + size % 2 > left) break;
    at += kChunkHeader + size + size % 2;
  }
  return {};
}

}  // namespace

Image decode_webp(const PictureSource& source) {
  const auto fail = [&](const std::string& reason) {
    throw Error(ErrorCode::kInput, source.name, "WebP", reason);
  };
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(source.bytes.data());
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(bytes, source.bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) fail("truncated");
  if (status != VP8_STATUS_OK) fail("damaged header");
  check_size(static_cast<std::uint64_t>(features.width), static_cast<std::uint64_t>(features.height),
             source.name, "WebP", source.limits);
  if (features.has_animation != 0) fail("animated pictures are not supported");
  int width = 0, height = 0;
  const auto decode = features.has_alpha != 0 ? WebPDecodeRGBA : WebPDecodeRGB;
  const std::unique_ptr<std::uint8_t, WebpFree> pixels(decode(bytes, source.bytes.size(), &width, &height));
  if (pixels == nullptr) fail("damaged or truncated");
  Image image = reserve_image(width, height);
  const std::size_t count = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  if (features.has_alpha != 0) {
    append_rgba({pixels.get(), count * 4}, &image.rgb);
  } else {
    image.rgb.assign(pixels.get(), pixels.get() + count * 3);
  }
  return upright(std::move(image), exif_orientation(find_exif(source.bytes)));
}

}  // namespace tessera
