// What every Config must keep to, whatever file it was read from. Private to models/qwen3vl.
#pragma once

#include <cstdint>
#include <string>

#include "models/qwen3vl/config.h"

namespace tessera::qwen3vl {

// Ranges of what files say. Far above every published size, far below anything that overflows a product of
// three.
inline constexpr std::int64_t kMaxLayers = 1024;
inline constexpr std::int64_t kMaxHeads = 1024;
inline constexpr std::int64_t kMaxHeadDim = 1024;
inline constexpr std::int64_t kMaxWidth = 1 << 20;
inline constexpr std::int64_t kMaxVocabulary = 1 << 24;
inline constexpr std::int64_t kMaxPositions = 1 << 26;
inline constexpr std::int64_t kMaxPatchSize = 256;
inline constexpr std::int64_t kMaxMergeSize = 16;
inline constexpr std::int64_t kMaxPixels = std::int64_t{1} << 31;
inline constexpr double kMinEpsilon = 1e-12, kMaxEpsilon = 0.1;
inline constexpr double kMinTheta = 1, kMaxTheta = 1e12;
inline constexpr double kMaxMean = 1000, kMinStd = 1e-6, kMaxStd = 1000;

// The base of published models; library defaults differ (spec/qwen3-vl.md §1.2).
inline constexpr double kDefaultTheta = 5e6;

// The file and how it spells the keys, for messages.
struct TextKeys {
  std::string file, hidden_size, layers, heads, key_value_heads, head_dim, mrope_section;
};
struct VisionKeys {
  std::string file, hidden_size, heads, out_hidden_size, positions, deepstack;
};

// Throw Error{kModel} naming file and key unless the relations hold that config.h promises.
void check_relations(const TextConfig& text, const TextKeys& keys);
void check_relations(const VisionConfig& vision, const VisionKeys& keys, const TextConfig& text,
                     const TextKeys& text_keys);

}  // namespace tessera::qwen3vl
