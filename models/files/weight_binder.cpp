#include "models/files/weight_binder.h"

#include <algorithm>

#include "tensor/error.h"

namespace tessera {

TensorView WeightBinder::require(std::string_view name, const Shape& expected) {
  const TensorView* const view = checkpoint_.find(name);
  if (!view) {
    missing_.emplace_back(name);
    return {DType::kF32, expected, nullptr};
  }
  used_.emplace(name);
  if (view->shape == expected) return *view;
  if (misshaped_.empty()) {
    misshaped_ = name;
    shape_reason_ =
        "wrong shape (got " + view->shape.to_string() + ", expected " + expected.to_string() + ")";
  }
  return {DType::kF32, expected, nullptr};
}

std::vector<std::string> WeightBinder::finish() const {
  if (!missing_.empty()) {
    throw Error(ErrorCode::kModel, checkpoint_.path(), missing_[0],
                std::to_string(missing_.size()) + " tensors are missing: " + join_names(missing_));
  }
  if (!misshaped_.empty()) throw Error(ErrorCode::kModel, checkpoint_.path(), misshaped_, shape_reason_);
  std::vector<std::string> unused;
  for (const Checkpoint::Entry& entry : checkpoint_.entries()) {
    if (!used_.contains(entry.name)) unused.push_back(entry.name);
  }
  if (unused.empty()) return {};
  return {escape(checkpoint_.path()) + ": " + std::to_string(unused.size()) +
          " tensors are not used: " + join_names(unused)};
}

std::string join_names(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 10;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    if (i) out += ", ";
    out += escape(names[i], 100);
  }
  if (names.size() > kShown) out += " and " + std::to_string(names.size() - kShown) + " more";
  return out;
}

}  // namespace tessera
