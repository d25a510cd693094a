#include <cblas.h>

#include <cstring>
#include <limits>
#include <string_view>

#include "ops/matmul/kernels.h"

namespace tessera::ops {
namespace {

void sgemm(const MatmulTile& t, const float* x, std::int64_t x_stride, float* y, std::int64_t y_stride,
           std::int64_t rows) {
  const std::int64_t block = t.columns < kBlasColumns ? kBlasRows : rows;
  for (std::int64_t m = 0; m < rows; m += block) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(block),
                static_cast<blasint>(t.columns), static_cast<blasint>(t.k), 1, x + m * x_stride,
                static_cast<blasint>(x_stride), static_cast<const float*>(t.w),
                static_cast<blasint>(t.w_stride / 4), 0, y + m * y_stride, static_cast<blasint>(y_stride));
  }
}

}  // namespace

const char* blas_build() { return openblas_get_config(); }
const char* blas_core() { return openblas_get_corename(); }

bool blas_takes(const MatmulExtents& product) {
  const std::string_view core = blas_core();
  constexpr std::int64_t kMost = std::numeric_limits<blasint>::max();
  if (product.rows > kMost || product.columns > kMost || product.k > kMost) return false;
  return product.rows > 1 && (core == "SkylakeX" || core == "Cooperlake" || core == "SapphireRapids");
}

void matmul_f32_openblas(const MatmulTile& t) noexcept {
  const std::int64_t whole = t.rows / kBlasRows * kBlasRows, rest = t.rows - whole;
  const auto* input = static_cast<const float*>(t.x);
  sgemm(t, input, t.x_stride, t.y, t.y_stride, whole);
  if (rest) {
    auto* x = static_cast<float*>(t.workspace);
    float* y = x + kBlasRows * t.k;
    for (std::int64_t m = 0; m < kBlasRows; ++m) {
      const std::size_t bytes = static_cast<std::size_t>(t.k) * sizeof(float);
      if (m < rest) {
        std::memcpy(x + m * t.k, input + (whole + m) * t.x_stride, bytes);
      } else {
        std::memset(x + m * t.k, 0, bytes);
      }
    }
    sgemm(t, x, t.k, y, t.columns, kBlasRows);
    for (std::int64_t m = 0; m < rest; ++m) {
      std::memcpy(t.y + (whole + m) * t.y_stride, y + m * t.columns,
                  static_cast<std::size_t>(t.columns) * sizeof(float));
    }
  }
  if (!t.bias) return;
  for (std::int64_t m = 0; m < t.rows; ++m) {
    for (std::int64_t n = 0; n < t.columns; ++n) t.y[m * t.y_stride + n] += t.bias[n];
  }
}

}  // namespace tessera::ops
