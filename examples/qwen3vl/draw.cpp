#include "examples/qwen3vl/draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

namespace tessera::programs {
namespace {

using Colour = std::array<std::uint8_t, 3>;

// Dark enough for white letters, and far from one another.
constexpr Colour kColours[] = {{214, 39, 40}, {31, 99, 200},  {30, 130, 60},
                               {180, 80, 0},  {130, 50, 170}, {0, 120, 130}};
constexpr Colour kWhite = {255, 255, 255};

constexpr int kGlyphWidth = 5, kGlyphHeight = 7;
constexpr std::uint8_t kFont[][kGlyphHeight] = {
#include "examples/qwen3vl/font.inc"
};

// Pixels [x0, x1) x [y0, y1), cut to the picture.
struct Rect {
  int x0, y0, x1, y1;
};

void fill(Image& image, const Rect& r, const Colour& colour) {
  for (int y = std::max(r.y0, 0); y < std::min(r.y1, image.height); ++y) {
    for (int x = std::max(r.x0, 0); x < std::min(r.x1, image.width); ++x) {
      const auto at = (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                       static_cast<std::size_t>(x)) *
                      3;
      std::copy(colour.begin(), colour.end(), image.rgb.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
}

void frame(Image& image, const Rect& r, int line, const Colour& colour) {
  fill(image, {r.x0, r.y0, r.x1, r.y0 + line}, colour);
  fill(image, {r.x0, r.y1 - line, r.x1, r.y1}, colour);
  fill(image, {r.x0, r.y0, r.x0 + line, r.y1}, colour);
  fill(image, {r.x1 - line, r.y0, r.x1, r.y1}, colour);
}

// One "?" for each character outside printable ASCII.
std::string drawable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0) == 0x80) continue;
    out += byte >= 0x20 && byte < 0x7f ? c : '?';
  }
  return out;
}

void write(Image& image, int left, int top, int scale, const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int x0 = left + static_cast<int>(i) * (kGlyphWidth + 1) * scale;
    if (x0 >= image.width) return;
    for (int row = 0; row < kGlyphHeight; ++row) {
      for (int column = 0; column < kGlyphWidth; ++column) {
        if (!(kFont[text[i] - ' '][row] >> (kGlyphWidth - 1 - column) & 1)) continue;
        const int x = x0 + column * scale, y = top + row * scale;
        fill(image, {x, y, x + scale, y + scale}, kWhite);
      }
    }
  }
}

void label(Image& image, const Rect& box, int scale, const Colour& colour, const std::string& text) {
  if (text.empty()) return;
  const int width =
      static_cast<int>(std::min<std::size_t>(text.size(), 1000)) * (kGlyphWidth + 1) * scale + scale;
  const int height = (kGlyphHeight + 2) * scale;
  const int top = box.y0 >= height ? box.y0 - height : box.y0;
  const int left = std::clamp(box.x0, 0, std::max(0, image.width - width));
  fill(image, {left, top, left + width, top + height}, colour);
  write(image, left + scale, top + scale, scale, text);
}

}  // namespace

void draw_boxes(Image& image, std::span<const Box> boxes) {
  const int side = std::min(image.width, image.height);
  const int line = std::max(1, side / 200);
  const int scale = std::max(1, side / 400);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const auto& c = boxes[i].corner;
    const Rect r{static_cast<int>(std::floor(c[0])), static_cast<int>(std::floor(c[1])),
                 static_cast<int>(std::ceil(c[2])), static_cast<int>(std::ceil(c[3]))};
    const Colour& colour = kColours[i % std::size(kColours)];
    frame(image, r, line, colour);
    label(image, r, scale, colour, drawable(boxes[i].label));
  }
}

}  // namespace tessera::programs
