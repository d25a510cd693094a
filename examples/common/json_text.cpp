#include "examples/common/json_text.h"

namespace tessera::programs {

std::optional<nlohmann::json> parse_json_text(std::string_view text, int max_depth) {
  using nlohmann::json;
  bool too_deep = false;
  auto check_depth = [&](int depth, json::parse_event_t, json&) { return !(too_deep |= depth > max_depth); };
  json value = json::parse(text, check_depth, false);
  if (too_deep || value.is_discarded()) return std::nullopt;
  return value;
}

}  // namespace tessera::programs
