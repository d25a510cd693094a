#include "bench/random_fill.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "quant/half.h"
#include "tensor/error.h"

namespace tessera::bench {
namespace {

constexpr std::size_t kPeriod = 1048573;  // the largest prime below 2^20

template <typename T, typename Convert>
void fill(std::byte* out, std::size_t count, const std::vector<float>& values, Convert convert) {
  std::vector<T> period(std::min(count, values.size()));
  std::transform(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(period.size()), period.begin(),
                 convert);
  for (std::size_t at = 0; at < count; at += period.size()) {
    std::memcpy(out + at * sizeof(T), period.data(), std::min(period.size(), count - at) * sizeof(T));
  }
}

}  // namespace

RandomFill::RandomFill() : values_(kPeriod) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0, 1);
  for (float& value : values_) value = normal(engine);
}

void RandomFill::normal(const TensorView& out, float deviation) const {
  const auto count = static_cast<std::size_t>(out.shape.elements());
  const auto scaled = [=](float x) { return x * deviation; };
  switch (out.dtype) {
    case DType::kF32:
      return fill<float>(out.data, count, values_, scaled);
    case DType::kF16:
      return fill<std::uint16_t>(out.data, count, values_,
                                 [=](float x) { return quant::f32_to_f16(scaled(x)); });
    case DType::kBF16:
      return fill<std::uint16_t>(out.data, count, values_,
                                 [=](float x) { return quant::f32_to_bf16(scaled(x)); });
    default:
      throw Error(ErrorCode::kUsage, "", "", "no random values of type " + std::string(info(out.dtype).name));
  }
}

}  // namespace tessera::bench
