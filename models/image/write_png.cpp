#include <fcntl.h>
#include <png.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "models/image/image.h"
#include "models/image/limits.h"
#include "tensor/error.h"

namespace tessera {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw Error(ErrorCode::kOutput, path, "", reason);
}

std::string system_reason() { return std::generic_category().message(errno); }

// Empty when the whole picture reached the file, the reason otherwise. Closes file.
std::string write_pixels(std::FILE* file, const Image& image) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  std::string reason;
  if (png_image_write_to_stdio(&png, file, 0, image.rgb.data(), 0, nullptr) == 0) reason = png.message;
  if (std::fclose(file) != 0 && reason.empty()) reason = system_reason();
  return reason;
}

}  // namespace

void write_png(const std::string& path, const Image& image) {
  check_pixels(image);
  const std::string partial = path + ".partial-" + std::to_string(getpid());
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) fail(path, "cannot create " + partial + ": " + system_reason());
  std::FILE* file = fdopen(fd, "wb");
  if (file == nullptr) close(fd);
  std::string reason = file != nullptr ? write_pixels(file, image) : system_reason();
  if (reason.empty() && std::rename(partial.c_str(), path.c_str()) != 0) reason = system_reason();
  if (!reason.empty()) {
    unlink(partial.c_str());
    fail(path, "cannot write: " + reason);
  }
}

}  // namespace tessera
