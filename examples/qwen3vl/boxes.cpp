#include "examples/qwen3vl/boxes.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

namespace tessera::programs {
namespace {

constexpr double kUnit = 1000;                 // coordinates are thousandths
constexpr std::size_t kMaxObjectBytes = 4096;  // longer ones are no boxes; keeps the search linear
constexpr int kMaxDepth = 8;

// Length of the JSON object that begins at text[0] = '{', 0 when it does not end.
std::size_t object_length(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < std::min(text.size(), kMaxObjectBytes); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return 0;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return i + 1;
    }
  }
  return 0;
}

struct Found {
  std::string label;
  std::array<double, 4> value;
};

std::optional<Found> read_object(std::string_view text) {
  const nlohmann::json object = nlohmann::json::parse(text, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const auto box = object.find("bbox_2d");
  if (box == object.end() || !box->is_array() || box->size() != 4) return std::nullopt;
  Found found;
  for (std::size_t i = 0; i < 4; ++i) {
    if (!(*box)[i].is_number()) return std::nullopt;
    found.value[i] = (*box)[i].get<double>();
    if (!std::isfinite(found.value[i])) return std::nullopt;
  }
  const auto label = object.find("label");
  if (label != object.end() && label->is_string()) found.label = label->get<std::string>();
  return found;
}

void add(BoxList& list, Found found, int width, int height) {
  Box box{std::move(found.label), {}};
  bool cut = false;
  for (std::size_t i = 0; i < 4; ++i) {
    const double inside = std::clamp(found.value[i], 0.0, kUnit);
    cut |= inside != found.value[i];
    box.corner[i] = inside * (i % 2 == 0 ? width : height) / kUnit;
  }
  if (!(box.corner[0] < box.corner[2] && box.corner[1] < box.corner[3])) {
    ++list.dropped;
    return;
  }
  list.cut += cut;
  list.boxes.push_back(std::move(box));
}

}  // namespace

BoxList find_boxes(std::string_view answer, int width, int height) {
  BoxList list;
  for (std::size_t at = answer.find('{'); at != std::string_view::npos; at = answer.find('{', at)) {
    const std::size_t length = object_length(answer.substr(at));
    std::optional<Found> found;
    if (length > 0) found = read_object(answer.substr(at, length));
    if (found) add(list, std::move(*found), width, height);
    at += found ? length : 1;
  }
  return list;
}

}  // namespace tessera::programs
