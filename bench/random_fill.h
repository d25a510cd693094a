// Values for operands and synthetic weights.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor_view.h"

namespace tessera::bench {

// Normally distributed numbers, the same in every process. They repeat with a period that is a prime number
// of blocks (about a million values), so that the rows of a matrix differ.
class RandomFill {
 public:
  RandomFill();
  // Writes mean 0 and the given deviation into a dense view of any weight format
  // (quant/formats.h).
  void normal(const TensorView& out, float deviation) const;

 private:
  std::vector<float> values_;
};

}  // namespace tessera::bench
