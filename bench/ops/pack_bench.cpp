#include <benchmark/benchmark.h>

#include <chrono>

#include "bench/ops/op_bench.h"

namespace tessera::bench {
namespace {

constexpr std::int64_t kColumns = 2560;

// Bytes of a file become bytes of a model, neither of which a cache holds.
void run(benchmark::State& state, const Setup& setup, DType dtype, const ops::PackOptions& options) {
  const std::int64_t row_bytes = dense_bytes(dtype, {1, kColumns});
  const std::int64_t rows = static_cast<std::int64_t>(uncached_bytes()) / row_bytes / 16 * 16;
  const Buffer file = Buffer::allocate(static_cast<std::size_t>(rows * row_bytes), Pages::kHuge);
  const TensorView w(dtype, {rows, kColumns}, file.data());
  RandomFill().normal(w, 0.02f);
  const Buffer packed = Buffer::allocate(ops::packed_bytes(w), Pages::kHuge);
  ops::pack_weight(w, packed.data(), options);  // commits the pages
  double seconds = 0, bytes = 0;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    ops::pack_weight(w, packed.data(), options);
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    state.SetIterationTime(elapsed);
    seconds += elapsed;
    bytes += static_cast<double>(file.size());
  }
  state.counters["GB/s"] = bytes / seconds / 1e9;
  state.counters["%copy"] = 100 * bytes / seconds / setup.roofs.copy;
}

}  // namespace

void add_pack_rows(const Setup& setup) {
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                            DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    for (const IsaLevel level : {IsaLevel::kScalar, IsaLevel::kAvx2, IsaLevel::kAvx512}) {
      if (!setup.cpu.has(level)) continue;
      const std::string row = "pack/" + std::string(info(dtype).name) + "/" + std::string(name(level));
      const ops::PackOptions options{setup.threads, setup.cpu.limited_to(level)};
      benchmark::RegisterBenchmark(
          row.c_str(),
          [&setup, dtype, options](benchmark::State& state) { run(state, setup, dtype, options); })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace tessera::bench
