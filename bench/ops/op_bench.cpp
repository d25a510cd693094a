#include "bench/ops/op_bench.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string_view>

#include "bench/plan_cost.h"
#include "quant/formats.h"
#include "tensor/executor.h"

namespace tessera::bench {
namespace {

alignas(kAlignment) std::byte const kNowhere[kAlignment] = {};  // address of operands without memory

Plan plan_of(const OpRow& row, Operands& operands, int copies, const Cpu& cpu) {
  Graph graph;
  for (int i = 0; i < copies; ++i) graph.output(row.build(graph, operands));
  return Plan::make(graph, cpu);
}

int copies_of(const OpRow& row) {
  if (row.caches == OpRow::Caches::kHot) return 1;
  Operands operands(Operands::Memory::kNone);
  Graph graph;
  row.build(graph, operands);
  return static_cast<int>(uncached_bytes() / std::max<std::size_t>(operands.bytes(), 1) + 1);
}

// Of the step with the most arithmetic, the last of equals: small steps prepare its operands or end its work.
std::string_view main_kernel(const Plan& plan) {
  const Step* main = &plan.steps().back();
  for (const Step& step : plan.steps()) {
    if (step.cost.flops > main->cost.flops) main = &step;
  }
  return main->plan.kernel;
}

// Of the unit that the kernel computes with, told by the level that ends its name.
double arithmetic_roof(const Roofs& roofs, std::string_view kernel) {
  if (kernel.ends_with("amx")) return roofs.bf16_tile;
  if (kernel.ends_with("avx512bf16")) return roofs.bf16_dot;
  if (kernel.ends_with("vnni")) return roofs.int8_dot;
  return roofs.f32;
}

void run(benchmark::State& state, const Setup& setup, const OpRow& row, const Cpu& cpu) {
  using Clock = std::chrono::steady_clock;
  const int copies = copies_of(row);
  Operands operands(Operands::Memory::kFilled);
  const auto plan = std::make_shared<const Plan>(plan_of(row, operands, copies, cpu));
  Executor executor(setup.threads);
  executor.prepare(plan);
  executor.run({});  // commits the arena
  double seconds = 0, runs = 0;
  for (auto _ : state) {
    const auto begin = Clock::now();
    executor.run({});
    const double elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
    state.SetIterationTime(elapsed / copies);
    seconds += elapsed;
    ++runs;
  }

  const std::string_view kernel = main_kernel(*plan);
  const OpCost cost = cost_of_run(*plan, row.past);
  const double bytes = cost.bytes * runs / seconds, flops = cost.flops * runs / seconds;
  state.counters["GB/s"] = bytes / 1e9;
  state.counters["%bw"] = 100 * bytes / setup.roofs.read;
  const double roof = arithmetic_roof(setup.roofs, kernel);
  if (flops > 0) state.counters["GFLOP/s"] = flops / 1e9;
  if (flops > 0 && roof > 0) state.counters["%flops"] = 100 * flops / roof;
  state.SetLabel(std::string(kernel));
}

}  // namespace

Operands::Operands(Memory memory) : memory_(memory), random_(memory == Memory::kFilled ? 1 : 0) {}

TensorView Operands::place(DType dtype, const Shape& shape) {
  const auto bytes = static_cast<std::size_t>(dense_bytes(dtype, shape));
  bytes_ += bytes;
  if (memory_ == Memory::kNone) return {dtype, shape, kNowhere};
  buffers_.push_back(Buffer::allocate(bytes));
  return {dtype, shape, buffers_.back().data()};
}

TensorView Operands::normal(DType dtype, const Shape& shape) {
  const TensorView view = place(dtype, shape);
  if (memory_ == Memory::kFilled) random_[0].normal(view, 1);
  return view;
}

TensorView Operands::blocks(DType dtype, std::int64_t n, std::int64_t k) {
  // Encoding takes long; a few rows in turn serve as well.
  constexpr std::int64_t kRows = 16;
  std::vector<float> values(static_cast<std::size_t>(kRows * k));
  random_[0].normal(TensorView(DType::kF32, {kRows, k}, values.data()), 1);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(dense_bytes(dtype, {kRows, k})));
  quant::find_format(dtype)->encode_row(values.data(), kRows * k, bytes.data());
  const TensorView view = place(dtype, {n, k});
  const std::size_t size = static_cast<std::size_t>(dense_bytes(dtype, {n, k}));
  for (std::size_t at = 0; at < size; at += bytes.size()) {
    std::memcpy(view.data + at, bytes.data(), std::min(bytes.size(), size - at));
  }
  return view;
}

TensorView Operands::weight(DType dtype, std::int64_t n, std::int64_t k) {
  if (memory_ == Memory::kNone) {
    // The layout that weights of this type get, whatever their size.
    const std::vector<std::byte> block(static_cast<std::size_t>(info(dtype).block_bytes));
    TensorView view = ops::pack_weight(TensorView(dtype, {1, info(dtype).block_elems}, block.data()), 1).view;
    view.shape = {n, k};
    if (view.layout == 0) view.strides = dense_strides(dtype, view.shape);
    view.data = const_cast<std::byte*>(kNowhere);
    bytes_ += static_cast<std::size_t>(dense_bytes(dtype, view.shape));
    return view;
  }
  const TensorView rows = info(dtype).block_elems == 1 ? normal(dtype, {n, k}) : blocks(dtype, n, k);
  ops::PackedWeight packed = ops::pack_weight(rows, 1);
  if (packed.memory.size()) buffers_.back() = std::move(packed.memory);
  return packed.view;
}

TensorView Operands::cache(DType dtype, ops::CachePart part, const Shape& shape) {
  const TensorDesc desc = ops::cache_desc(dtype, part, shape);
  const std::size_t size = ops::cache_bytes(desc);
  bytes_ += size;
  if (memory_ == Memory::kNone) return {desc, const_cast<std::byte*>(kNowhere)};
  buffers_.push_back(Buffer::allocate(size, Pages::kHuge));
  const TensorView view(desc, buffers_.back().data());
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  const TensorView rows(DType::kF32, shape, values.data());
  random_[0].normal(rows, 1);
  const std::int32_t past = 0;
  Graph graph;
  graph.output(ops::append_rows(graph, view, rows, TensorView(DType::kI32, {1}, &past)));
  Executor executor(1);
  executor.prepare(std::make_shared<const Plan>(Plan::make(graph, Cpu::from_environment())));
  executor.run({});
  return view;
}

TensorView Operands::indices(const Shape& shape, std::int32_t limit, std::int32_t step) {
  const TensorView view = place(DType::kI32, shape);
  if (memory_ == Memory::kNone) return view;
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    view.as<std::int32_t>()[i] = static_cast<std::int32_t>(i * step % limit);
  }
  return view;
}

TensorView Operands::samples(const Shape& shape) {
  const TensorView view = place(DType::kU8, shape);
  if (memory_ == Memory::kNone) return view;
  for (std::int64_t i = 0; i < shape.elements(); ++i)
    view.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 37 % 251);
  return view;
}

TensorView Operands::number(std::int32_t value) {
  const TensorView view = place(DType::kI32, {1});
  if (memory_ == Memory::kFilled) *view.as<std::int32_t>() = value;
  return view;
}

void add_row(const Setup& setup, const OpRow& row) {
  std::string kernel_before;
  for (const IsaLevelInfo& level : isa_levels()) {
    if (!setup.cpu.has(level.level)) continue;
    if (row.levels == OpRow::Levels::kVector && level.level == IsaLevel::kScalar) continue;
    const Cpu cpu = setup.cpu.limited_to(level.level);
    Operands operands(Operands::Memory::kNone);
    const Plan plan = plan_of(row, operands, 1, cpu);
    const std::string kernel(main_kernel(plan));
    if (kernel == kernel_before) continue;
    kernel_before = kernel;
    const std::string name = row.name + "/" + std::string(level.name);
    benchmark::RegisterBenchmark(name.c_str(),
                                 [&setup, row, cpu](benchmark::State& state) { run(state, setup, row, cpu); })
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

}  // namespace tessera::bench
