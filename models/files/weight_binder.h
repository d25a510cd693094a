// WeightBinder: fetches the weights of a model from a Checkpoint and says everything that is wrong at once.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/checkpoint.h"

namespace tessera {

class WeightBinder {
 public:
  // The checkpoint must outlive the binder.
  explicit WeightBinder(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  // The tensor of that name and shape. Where it is missing or shaped otherwise this is noted for finish()
  // and a view without data comes back, so that binding goes on. The data may be unaligned.
  // Throws Error{kUnsupported} when the dtype serves no weight.
  TensorView require(std::string_view name, const Shape& expected);
  bool has(std::string_view name) const { return checkpoint_.contains(name); }

  // Throws Error{kModel} if anything was noted: for missing tensors their number and the first ten names,
  // else the first wrong shape, got and expected. Otherwise returns warnings in printable text: the tensors
  // that nobody required.
  std::vector<std::string> finish() const;

 private:
  const Checkpoint& checkpoint_;
  std::set<std::string, std::less<>> used_;
  std::vector<std::string> missing_;
  std::string misshaped_, shape_reason_;  // the first wrong shape
};

// "a, b, c and 7 more": at most ten names, escaped.
std::string join_names(const std::vector<std::string>& names);

}  // namespace tessera
