// Boxes in an answer: [{"bbox_2d": [x0, y0, x1, y1], "label": "red circle"}, …] in thousandths of the
// picture's width and height, as Qwen3-VL writes them.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::programs {

struct Box {
  std::string label;             // empty where the answer gives none
  std::array<double, 4> corner;  // x0, y0, x1, y1 in pixels of the upright picture, x0 < x1 and y0 < y1
};

struct BoxList {
  std::vector<Box> boxes;
  // Of the boxes found: cut to the picture, and left out because nothing of them lies in it.
  int cut = 0, dropped = 0;
};

// Every JSON object with a "bbox_2d" of four numbers anywhere in the text: in a list or alone, in a code
// fence or in prose, also when the list around it was cut off.
BoxList find_boxes(std::string_view answer, int width, int height);

}  // namespace tessera::programs
