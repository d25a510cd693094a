#include "bench/random_fill.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "quant/formats.h"
#include "tensor/error.h"

namespace tessera::bench {
namespace {

constexpr std::int64_t kValues = 1 << 20;

bool is_prime(std::int64_t n) {
  for (std::int64_t i = 2; i * i <= n; ++i) {
    if (n % i == 0) return false;
  }
  return n > 1;
}

}  // namespace

RandomFill::RandomFill() {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0, 1);
  values_.resize(kValues);
  for (float& value : values_) value = normal(engine);
}

void RandomFill::normal(const TensorView& out, float deviation) const {
  const quant::Format* format = quant::find_format(out.dtype);
  if (format == nullptr) {
    throw Error(ErrorCode::kUsage, "", "", "no random values of type " + std::string(info(out.dtype).name));
  }
  const DTypeInfo& type = info(out.dtype);
  const std::int64_t blocks = dense_bytes(out.dtype, out.shape) / type.block_bytes;
  std::int64_t period = kValues / type.block_elems;
  while (!is_prime(period)) --period;
  period = std::min(period, blocks);

  std::vector<float> scaled(static_cast<std::size_t>(period * type.block_elems));
  std::transform(values_.begin(), values_.begin() + static_cast<std::ptrdiff_t>(scaled.size()),
                 scaled.begin(), [=](float x) { return x * deviation; });
  auto* const bytes = reinterpret_cast<std::uint8_t*>(out.data);
  format->encode_row(scaled.data(), period * type.block_elems, bytes);
  for (std::int64_t at = period; at < blocks; at += period) {
    std::memcpy(bytes + at * type.block_bytes, bytes,
                static_cast<std::size_t>(std::min(period, blocks - at) * type.block_bytes));
  }
}

}  // namespace tessera::bench
