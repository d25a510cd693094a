#include <benchmark/benchmark.h>

#include <chrono>

#include "bench/ops/op_bench.h"
#include "quant/quantize.h"

namespace tessera::bench {
namespace {

constexpr std::int64_t kRows = 64, kColumns = 2560;

void run(benchmark::State& state, const quant::QuantizeJob& job) {
  const Buffer from = Buffer::allocate(static_cast<std::size_t>(kRows * kColumns) * sizeof(float));
  const TensorView x(DType::kF32, {kRows, kColumns}, from.data());
  RandomFill().normal(x, 0.02f);
  const Buffer to = Buffer::allocate(static_cast<std::size_t>(kRows * quant::row_bytes(job.to, kColumns)));
  double seconds = 0, weights = 0, nmse = 0;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    nmse = quant::quantize_rows(job, x.as<std::uint8_t>(), reinterpret_cast<std::uint8_t*>(to.data())).nmse;
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    state.SetIterationTime(elapsed);
    seconds += elapsed;
    weights += kRows * kColumns;
  }
  state.counters["Mweights/s"] = weights / seconds / 1e6;
  state.counters["1e4*NMSE"] = nmse * 1e4;
}

// The others run the same code at every level.
bool has_kernels(DType to, quant::Encoder encoder) {
  return encoder == quant::Encoder::kBest ? to != DType::kQ8_0 : info(to).block_elems == 256;
}

}  // namespace

void add_quantize_rows(const Setup& setup) {
  using quant::Encoder;
  for (const DType to : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ4_K,
                         DType::kQ5_K, DType::kQ6_K}) {
    for (const Encoder encoder : {Encoder::kReference, Encoder::kBest}) {
      for (const IsaLevel level : {IsaLevel::kScalar, IsaLevel::kAvx2, IsaLevel::kAvx512}) {
        if (!setup.cpu.has(level) || (level != IsaLevel::kScalar && !has_kernels(to, encoder))) continue;
        const quant::QuantizeJob job{.to = to,
                                     .rows = kRows,
                                     .columns = kColumns,
                                     .encoder = encoder,
                                     .threads = setup.threads,
                                     .cpu = setup.cpu.limited_to(level)};
        const std::string row = "quantize/" + std::string(info(to).name) +
                                (encoder == Encoder::kBest ? "/best/" : "/reference/") +
                                std::string(name(level));
        benchmark::RegisterBenchmark(row.c_str(), [job](benchmark::State& state) { run(state, job); })
            ->UseManualTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

}  // namespace tessera::bench
