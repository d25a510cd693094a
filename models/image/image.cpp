#include "models/image/image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>

#include "models/files/descriptor.h"
#include "models/image/decoders.h"
#include "tensor/error.h"

namespace tessera {
namespace {

using std::string_view_literals::operator""sv;

#ifdef TESSERA_WEBP
constexpr std::string_view kFormats = "PNG, JPEG, WebP";
#else
constexpr std::string_view kFormats = "PNG, JPEG";
#endif

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  std::string_view format;
};

// The first that fits names the format; more telling ones come first.
constexpr std::array kSignatures{
    Signature{0, "\x89PNG\r\n\x1a\n"sv, "PNG"sv},
    Signature{0, "\xff\xd8\xff"sv, "JPEG"sv},
    Signature{8, "WEBP"sv, "WebP"sv},
    Signature{0, "GIF8"sv, "GIF"sv},
    Signature{0, "BM"sv, "BMP"sv},
    Signature{0, "II*\0"sv, "TIFF"sv},
    Signature{0, "MM\0*"sv, "TIFF"sv},
    Signature{0, "%PDF"sv, "PDF"sv},
    Signature{0, "8BPS"sv, "PSD"sv},
    Signature{0, "\0\0\1\0"sv, "ICO"sv},
    Signature{0, "\xff\x0a"sv, "JPEG XL"sv},
    Signature{4, "JXL "sv, "JPEG XL"sv},
    Signature{4, "jP  "sv, "JPEG 2000"sv},
    Signature{4, "ftypavif"sv, "AVIF"sv},
    Signature{4, "ftypavis"sv, "AVIF"sv},
    Signature{4, "ftyphe"sv, "HEIC"sv},
    Signature{4, "ftypmif1"sv, "HEIC"sv},
    Signature{4, "ftypmsf1"sv, "HEIC"sv},
    Signature{4, "ftyp"sv, "MP4"sv},
    Signature{0, "\x1a\x45\xdf\xa3"sv, "Matroska"sv},
    Signature{8, "AVI "sv, "AVI"sv},
};

std::string_view format_of(std::string_view bytes) {
  for (const Signature& signature : kSignatures) {
    if (bytes.size() > signature.offset && bytes.substr(signature.offset).starts_with(signature.bytes)) {
      return signature.format;
    }
  }
  constexpr std::size_t kSvgSearch = 1024;  // past an XML declaration, a doctype and a comment
  if (bytes.substr(0, kSvgSearch).find("<svg") != std::string_view::npos) return "SVG";
  return {};
}

[[noreturn]] void reject(const std::string& name, const std::string& reason) {
  throw Error(ErrorCode::kInput, name, "", reason);
}

void check_file_size(std::uint64_t bytes, const std::string& name, const ImageLimits& limits) {
  if (bytes == 0) reject(name, "the file is empty");
  if (bytes > limits.file_bytes) {
    reject(name, "file of " + std::to_string(bytes) + " bytes, limit " + std::to_string(limits.file_bytes));
  }
}

std::string system_reason() { return std::generic_category().message(errno); }

std::vector<std::byte> read_file(const std::string& path, const ImageLimits& limits) {
  if (path.find('\0') != std::string::npos) reject(path, "a path cannot hold a zero byte");
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) reject(path, "cannot open: " + system_reason());
  struct stat status {};
  if (fstat(file.fd, &status) != 0) reject(path, "cannot read: " + system_reason());
  if (S_ISDIR(status.st_mode)) reject(path, "is a directory, not a picture file");
  if (!S_ISREG(status.st_mode)) reject(path, "is not a regular file");
  check_file_size(static_cast<std::uint64_t>(status.st_size), path, limits);
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = read(file.fd, bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) reject(path, "cannot read: " + system_reason());
    if (got == 0) {
      reject(path, "the file shrank while it was read (got " + std::to_string(have) + " bytes, expected " +
                       std::to_string(bytes.size()) + ")");
    }
    have += static_cast<std::size_t>(got);
  }
  return bytes;
}

}  // namespace

void append_rgba(std::span<const std::uint8_t> rgba, std::vector<std::uint8_t>* rgb) {
  for (std::size_t i = 0; i + 4 <= rgba.size(); i += 4) {
    const unsigned alpha = rgba[i + 3];
    for (std::size_t c = 0; c < 3; ++c) rgb->push_back(over_white(rgba[i + c], alpha));
  }
}

Image reserve_image(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name, const ImageLimits& limits) {
  check_file_size(bytes.size(), name, limits);
  const PictureSource source{bytes, name, limits};
  const std::string_view format =
      format_of(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  if (format == "PNG") return decode_png(source);
  if (format == "JPEG") return decode_jpeg(source);
  if (format == "WebP") {
#ifdef TESSERA_WEBP
    return decode_webp(source);
#else
    reject(name, "WebP not supported by this build");
#endif
  }
  const std::string formats(kFormats);
  if (format.empty()) reject(name, "not a picture of a known format (" + formats + ")");
  reject(name, "format " + std::string(format) + " not supported (" + formats + ")");
}

Image read_image(const std::string& path, const ImageLimits& limits) {
  return decode_image(read_file(path, limits), path, limits);
}

}  // namespace tessera
