// Describes a picture's memory, and shows how tessera reports a shape that cannot be.
#include <cstddef>
#include <iostream>
#include <vector>

#include "tensor/error.h"
#include "tensor/shape.h"
#include "tensor/tensor_view.h"

int main() {
  const tessera::Shape shape{2, 3};
  std::vector<float> pixels(static_cast<std::size_t>(shape.elements()), 0.5f);
  const tessera::TensorView view(tessera::DType::kF32, shape, pixels.data());
  std::cout << "a tensor of " << view.shape.to_string() << ", " << view.strides[0] << " bytes a row\n";
  try {
    const tessera::Shape impossible{-1};
  } catch (const tessera::Error& error) {
    std::cout << "refused: " << error.what() << '\n';
    return 0;
  }
  return 1;
}
