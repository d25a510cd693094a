// bench_ops: every op on shapes of Qwen3-VL, and the encoders of quant, beside the limits of this machine.
//
//   bench_ops [--threads=N] [Google Benchmark's flags]      N: 1 to the CPUs there are; default all of them
#include <benchmark/benchmark.h>

#include <charconv>
#include <cstdio>
#include <string_view>

#include "bench/ops/op_bench.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace {

using namespace tessera;

// Takes --threads=N out of the arguments.
int take_threads(int* argc, char** argv) {
  constexpr std::string_view kFlag = "--threads=";
  const int most = available_threads();
  int threads = most, kept = 1;
  for (int i = 1; i < *argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(kFlag)) {
      argv[kept++] = argv[i];
      continue;
    }
    const std::string_view value = argument.substr(kFlag.size());
    const char* const end = value.data() + value.size();
    const auto parsed = std::from_chars(value.data(), end, threads);
    if (parsed.ec != std::errc() || parsed.ptr != end || threads < 1 || threads > most) {
      throw Error(
          ErrorCode::kUsage, "", "--threads",
          "out of range (got " + std::string(value) + ", expected 1 to " + std::to_string(most) + ")");
    }
  }
  *argc = kept;
  return threads;
}

int run(int argc, char** argv) {
  bench::Setup setup;
  setup.threads = take_threads(&argc, argv);
  setup.cpu = Cpu::from_environment();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return static_cast<int>(ErrorCode::kUsage);

  setup.roofs = bench::measure_roofs(setup.cpu, setup.threads);
  benchmark::AddCustomContext("cpu", setup.cpu.brand() + ", " + std::string(name(setup.cpu.best())));
  benchmark::AddCustomContext("threads", std::to_string(setup.threads));
  for (const auto& [what, amount] : bench::describe(setup.roofs)) {
    benchmark::AddCustomContext("limit: " + what, amount);
  }
  bench::add_matmul_rows(setup);
  bench::add_attention_rows(setup);
  bench::add_normalize_rows(setup);
  bench::add_elementwise_rows(setup);
  bench::add_pictures_rows(setup);
  bench::add_positions_rows(setup);
  bench::add_move_rows(setup);
  bench::add_pack_rows(setup);
  bench::add_quantize_rows(setup);
  bench::add_graph_rows(setup);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace

int main(int argc, char** argv) try { return run(argc, argv); } catch (const Error& error) {
  std::fprintf(stderr, "bench_ops: %s\n", error.what());
  return static_cast<int>(error.code());
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_ops: %s\n", error.what());
  return static_cast<int>(ErrorCode::kResource);
}
