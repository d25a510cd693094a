// What the vision tower makes of one picture.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/image/preprocess.h"
#include "models/qwen3vl/config.h"
#include "tensor/error.h"
#include "tensor/shape.h"

namespace tessera::qwen3vl {

// [1 + K, N, D]: levels, tokens of the picture, width of the text model.
inline Shape feature_shape(const VisionConfig& config, const Grid& grid) {
  return {1 + static_cast<std::int64_t>(config.deepstack_visual_indexes.size()),
          grid.tokens(config.spatial_merge_size), config.out_hidden_size};
}

// Copies share the values, which never change.
class PictureFeatures {
 public:
  // Throws Error{kUsage} unless there are as many values as feature_shape has.
  PictureFeatures(const VisionConfig& config, const Grid& grid, std::vector<float> values)
      : grid_(grid),
        shape_(feature_shape(config, grid)),
        values_(std::make_shared<const std::vector<float>>(std::move(values))) {
    if (static_cast<std::int64_t>(values_->size()) != shape_.elements()) {
      throw Error(ErrorCode::kUsage, "", "features",
                  std::to_string(values_->size()) + " values do not make " + shape_.to_string());
    }
  }

  const Grid& grid() const { return grid_; }
  std::int64_t tokens() const { return shape_[1]; }
  std::int64_t width() const { return shape_[2]; }
  const Shape& shape() const { return shape_; }
  // [tokens, width]: level 0 goes into the rows of the picture's tokens, level 1 + k is added after layer k.
  const float* level(int i) const {
    return values_->data() + static_cast<std::ptrdiff_t>(i * tokens() * width());
  }
  std::span<const float> values() const { return *values_; }

 private:
  Grid grid_;
  Shape shape_;
  std::shared_ptr<const std::vector<float>> values_;
};

}  // namespace tessera::qwen3vl
