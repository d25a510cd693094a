// WeightBinder: fetches the weights of a model from a Checkpoint and says everything that is wrong at once.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/checkpoint.h"

namespace tessera {

// Another spelling of the front of a name: with {"model.visual.", "visual."} a checkpoint may hold
// visual.pos_embed.weight where the model asks for model.visual.pos_embed.weight.
struct PrefixAlias {
  std::string_view canonical, alternative;
};

class WeightBinder {
 public:
  // `aliases` are tried in order after the name itself; they and the checkpoint must outlive the binder.
  explicit WeightBinder(const Checkpoint& checkpoint, std::span<const PrefixAlias> aliases = {});

  // The tensor of that name and shape. Where it is missing or shaped otherwise this is noted for finish()
  // and a view without data comes back, so that binding goes on. The data may be unaligned.
  // Throws Error{kUnsupported} when the dtype serves no weight.
  TensorView require(std::string_view name, const Shape& expected);
  bool has(std::string_view name) const;

  // Throws Error{kModel} if anything was noted: for missing tensors their number and the first ten names,
  // else the first wrong shape, got and expected. Otherwise returns warnings in printable text: the tensors
  // that nobody required.
  std::vector<std::string> finish() const;

 private:
  // The name under which the checkpoint holds the tensor, empty when it does not.
  std::string resolve(std::string_view name) const;

  const Checkpoint& checkpoint_;
  std::span<const PrefixAlias> aliases_;
  std::set<std::string> used_;
  std::vector<std::string> missing_;
  std::string misshaped_, shape_reason_;  // the first wrong shape
};

// "a, b, c and 7 more": at most ten names, escaped.
std::string join_names(const std::vector<std::string>& names);

}  // namespace tessera
