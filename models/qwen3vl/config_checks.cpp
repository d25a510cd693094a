#include "models/qwen3vl/config_checks.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "tensor/error.h"

namespace tessera::qwen3vl {

void check_relations(const TextConfig& text, const TextKeys& keys) {
  const auto fail = [&](const std::string& key, const std::string& reason) {
    throw Error(ErrorCode::kModel, keys.file, key, reason);
  };
  if (text.num_attention_heads % text.num_key_value_heads != 0) {
    fail(keys.heads, "must be a multiple of " + keys.key_value_heads + " (got " +
                         std::to_string(text.num_attention_heads) + " and " +
                         std::to_string(text.num_key_value_heads) + ")");
  }
  if (text.head_dim % 2 != 0) {
    fail(keys.head_dim, "must be even (got " + std::to_string(text.head_dim) + ")");
  }
  const std::string half = keys.head_dim + " / 2 = " + std::to_string(text.head_dim / 2);
  const auto& section = text.mrope_section;
  if (section[0] + section[1] + section[2] != text.head_dim / 2) {
    fail(keys.mrope_section, "must be three numbers whose sum is " + half);
  }
  if (text.mrope_interleaved && 3 * std::max(section[1], section[2]) > text.head_dim / 2) {
    fail(keys.mrope_section, "three times a row or column section must not exceed " + half);
  }
}

void check_relations(const VisionConfig& vision, const VisionKeys& keys, const TextConfig& text,
                     const TextKeys& text_keys) {
  const auto fail = [&](const std::string& key, const std::string& reason) {
    throw Error(ErrorCode::kModel, keys.file, key, reason);
  };
  if (vision.hidden_size % (4 * vision.num_heads) != 0) {
    fail(keys.hidden_size, "must be a multiple of 4 · " + keys.heads + " (got " +
                               std::to_string(vision.hidden_size) + " and " +
                               std::to_string(vision.num_heads) + " heads)");
  }
  if (vision.out_hidden_size != text.hidden_size) {
    const std::string where = text_keys.file == keys.file ? "" : " of " + escape(text_keys.file);
    fail(keys.out_hidden_size, "differs from " + text_keys.hidden_size + where + " (got " +
                                   std::to_string(vision.out_hidden_size) + ", expected " +
                                   std::to_string(text.hidden_size) + ")");
  }
  const auto side = std::llround(std::sqrt(static_cast<double>(vision.num_position_embeddings)));
  if (side * side != vision.num_position_embeddings) {
    fail(keys.positions,
         "must be a square number (got " + std::to_string(vision.num_position_embeddings) + ")");
  }
  const auto& taps = vision.deepstack_visual_indexes;
  if (std::adjacent_find(taps.begin(), taps.end(), std::greater_equal<>()) != taps.end()) {
    fail(keys.deepstack, "must be strictly increasing");
  }
  if (static_cast<std::int64_t>(taps.size()) > text.num_hidden_layers) {
    fail(keys.deepstack, "more entries than " + text_keys.layers + " (got " + std::to_string(taps.size()) +
                             ", limit " + std::to_string(text.num_hidden_layers) + ")");
  }
}

}  // namespace tessera::qwen3vl
