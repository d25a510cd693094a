#include "models/image/limits.h"

#include <algorithm>

#include "tensor/error.h"

namespace tessera {
namespace {

// value / unit with at most one decimal, rounded up: a number over a limit never reads as the limit.
std::string ratio_text(std::uint64_t value, std::uint64_t unit) {
  std::uint64_t whole = value / unit;
  std::uint64_t tenth = (value % unit * 10 + unit - 1) / unit;
  if (tenth == 10) {
    ++whole;
    tenth = 0;
  }
  std::string text = std::to_string(whole);
  if (tenth > 0) text.append(".").append(std::to_string(tenth));
  return text;
}

[[noreturn]] void reject(const std::string& name, const std::string& field, const std::string& reason) {
  throw Error(ErrorCode::kInput, name, field, reason);
}

}  // namespace

void check_aspect(ImageSize size, std::uint64_t limit, const std::string& name, const std::string& field) {
  const auto longer = static_cast<std::uint64_t>(std::max(size.width, size.height));
  const auto shorter = static_cast<std::uint64_t>(std::min(size.width, size.height));
  // Through the quotient, so that no limit can make the product wrap.
  const std::uint64_t quotient = longer / shorter + (longer % shorter != 0);
  if (quotient > limit) {
    reject(name, field, "aspect ratio " + ratio_text(longer, shorter) + ", limit " + std::to_string(limit));
  }
}

void check_size(std::uint64_t width, std::uint64_t height, const std::string& name, const std::string& format,
                const ImageLimits& limits) {
  const std::string size = std::to_string(width) + "x" + std::to_string(height);
  if (width == 0 || height == 0) reject(name, format, "a side of 0 pixels (got " + size + ")");
  const std::uint64_t side_limit = std::min<std::uint64_t>(limits.side, INT32_MAX);
  if (std::max(width, height) > side_limit) {
    reject(name, format,
           "side of " + std::to_string(std::max(width, height)) + " pixels, limit " +
               std::to_string(side_limit));
  }
  if (width * height > limits.pixels) {
    reject(name, format,
           size + " is " + ratio_text(width * height, 1'000'000) + " Mpx, limit " +
               ratio_text(limits.pixels, 1'000'000));
  }
  check_aspect({static_cast<int>(width), static_cast<int>(height)}, limits.aspect, name, format);
}

void check_pixels(const Image& image) {
  const bool sized = image.width > 0 && image.height > 0;
  if (!sized ||
      image.rgb.size() / 3 / static_cast<std::size_t>(image.width) !=
          static_cast<std::size_t>(image.height) ||
      image.rgb.size() % (3 * static_cast<std::size_t>(image.width)) != 0) {
    throw Error(ErrorCode::kUsage, "", "rgb",
                std::to_string(image.rgb.size()) + " bytes do not make a picture of " +
                    std::to_string(image.width) + "x" + std::to_string(image.height) + " pixels");
  }
}

}  // namespace tessera
