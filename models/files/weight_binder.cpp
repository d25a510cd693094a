#include "models/files/weight_binder.h"

#include <algorithm>

#include "tensor/error.h"

namespace tessera {

WeightBinder::WeightBinder(const Checkpoint& checkpoint, std::span<const PrefixAlias> aliases)
    : checkpoint_(checkpoint), aliases_(aliases) {}

std::string WeightBinder::resolve(std::string_view name) const {
  if (checkpoint_.contains(name)) return std::string(name);
  for (const PrefixAlias& alias : aliases_) {
    if (!name.starts_with(alias.canonical)) continue;
    std::string other(alias.alternative);
    other += name.substr(alias.canonical.size());
    if (checkpoint_.contains(other)) return other;
  }
  return {};
}

bool WeightBinder::has(std::string_view name) const { return !resolve(name).empty(); }

TensorView WeightBinder::require(std::string_view name, const Shape& expected) {
  const std::string actual = resolve(name);
  if (actual.empty()) {
    missing_.emplace_back(name);
    return {DType::kF32, expected, nullptr};
  }
  used_.insert(actual);
  const TensorView& view = *checkpoint_.find(actual);
  if (view.shape == expected) return view;
  if (misshaped_.empty()) {
    misshaped_ = actual;
    shape_reason_ = "wrong shape (got " + view.shape.to_string() + ", expected " + expected.to_string() + ")";
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
