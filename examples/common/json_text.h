// JSON from text that nobody vouches for.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace tessera::programs {

// One document; nothing when it is malformed or nested deeper than max_depth, where building the value stops.
std::optional<nlohmann::json> parse_json_text(std::string_view text, int max_depth);

}  // namespace tessera::programs
