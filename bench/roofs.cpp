#include "bench/roofs.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>

#include "bench/roof_kernels.h"
#include "tensor/buffer.h"
#include "tensor/threads.h"

namespace tessera::bench {
namespace {

constexpr double kSeconds = 0.25;  // that one limit is measured for

double seconds_of(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Seconds of the shortest pass of those that fit into kSeconds, at least three.
double shortest_pass(const std::function<void()>& pass) {
  double shortest = seconds_of(pass), spent = shortest;
  for (int count = 1; count < 3 || spent < kSeconds; ++count) {
    const double seconds = seconds_of(pass);
    shortest = std::min(shortest, seconds);
    spent += seconds;
  }
  return shortest;
}

double measure_peak(void (*kernel)(std::int64_t rounds) noexcept, double ops_per_round, int threads) {
  // Pieces of about 0.2 ms, many to a pass: a thread that starts late leaves its share to the others.
  constexpr double kPieceSeconds = 2e-4;
  constexpr std::int64_t kPiecesPerThread = 20;
  std::int64_t rounds = 1000;
  while (seconds_of([&] { kernel(rounds); }) < kPieceSeconds) rounds *= 2;
  const std::int64_t pieces = kPiecesPerThread * threads;
  const double seconds = shortest_pass(
      [&] { parallel_for(pieces, 1, threads, [&](std::int64_t, std::int64_t) { kernel(rounds); }); });
  return ops_per_round * static_cast<double>(rounds * pieces) / seconds;
}

void read_scalar(const std::byte* data, std::size_t bytes, std::size_t) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < bytes; at += sizeof sum) {
    std::uint64_t word = 0;
    std::memcpy(&word, data + at, sizeof word);
    sum |= word;
  }
  __asm__ volatile("" : : "r"(sum));
}

constexpr std::size_t kPiece = std::size_t{4} << 20;

void for_each_piece(const Buffer& buffer, int threads, const std::function<void(std::size_t at)>& work) {
  parallel_for(static_cast<std::int64_t>(buffer.size() / kPiece), 1, threads,
               [&](std::int64_t piece, std::int64_t) { work(static_cast<std::size_t>(piece) * kPiece); });
}

// Written from end to end: pages that never were are all the one page of zeros, which stays in the cache.
Buffer uncached_buffer(int threads) {
  Buffer buffer = Buffer::allocate(uncached_bytes() / kPiece * kPiece, Pages::kHuge);
  for_each_piece(buffer, threads, [&](std::size_t at) { std::memset(buffer.data() + at, 1, kPiece); });
  return buffer;
}

double measure_copy(int threads) {
  const Buffer from = uncached_buffer(threads), to = uncached_buffer(threads);
  const double seconds = shortest_pass([&] {
    for_each_piece(from, threads,
                   [&](std::size_t at) { std::memcpy(to.data() + at, from.data() + at, kPiece); });
  });
  return static_cast<double>(from.size()) / seconds;
}

// Reading with lines asked for so far ahead is faster on some processors, slower on others
// (bench/RESULTS.md): the faster way in most of so many turns is the limit.
constexpr std::size_t kBytesAhead = 8192;
constexpr int kTurns = 5;

double measure_read(const Cpu& cpu, int threads) {
  const ReadMeter meter(cpu, threads);
  return static_cast<double>(meter.buffer_bytes()) / shortest_pass([&] { meter.pass(); });
}

}  // namespace

std::size_t uncached_bytes() {
  constexpr std::size_t kLeast = std::size_t{256} << 20, kMost = std::size_t{1} << 30;
  // "32768K". sysconf adds up the caches of processors that are not ours.
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
  std::size_t kibibytes = 0;
  if (!(file >> kibibytes)) return kMost;
  return std::clamp(4 * (kibibytes << 10), kLeast, kMost);
}

ReadMeter::ReadMeter(const Cpu& cpu, int threads)
    : buffer_(uncached_buffer(threads)), threads_(threads), read_(&read_scalar) {
#if defined(__x86_64__)
  if (cpu.has(IsaLevel::kAvx2)) read_ = &roof_read_x86_avx2;
  if (cpu.has(IsaLevel::kAvx512)) read_ = &roof_read_x86_avx512;
#else
  static_cast<void>(cpu);
#endif
  int won = 0;
  for (int i = 0; i < kTurns; ++i) {
    ahead_ = 0;
    const double plain = pass();
    ahead_ = kBytesAhead;
    won += pass() > plain;
  }
  if (won <= kTurns / 2) ahead_ = 0;
}

double ReadMeter::pass() const {
  const double seconds = seconds_of([&] {
    for_each_piece(buffer_, threads_, [&](std::size_t at) { read_(buffer_.data() + at, kPiece, ahead_); });
  });
  return static_cast<double>(buffer_.size()) / seconds;
}

Roofs measure_roofs(const Cpu& cpu, int threads) {
  Roofs roofs;
  roofs.threads = threads;
  roofs.read = measure_read(cpu, threads);
  roofs.copy = measure_copy(threads);
#if defined(__x86_64__)
  struct Unit {
    IsaLevel level;
    void (*kernel)(std::int64_t) noexcept;
    double ops_per_round;
    double Roofs::*roof;
  };
  constexpr Unit kUnits[] = {
      {IsaLevel::kAvx2, roof_f32_x86_avx2, kRoofF32Avx2Ops, &Roofs::f32},
      {IsaLevel::kAvx512, roof_f32_x86_avx512, kRoofF32Avx512Ops, &Roofs::f32},
      {IsaLevel::kAvxVnni, roof_int8_x86_avxvnni, kRoofInt8AvxVnniOps, &Roofs::int8_dot},
      {IsaLevel::kAvx512Vnni, roof_int8_x86_avx512vnni, kRoofInt8VnniOps, &Roofs::int8_dot},
      {IsaLevel::kAvx512Bf16, roof_bf16_x86_avx512bf16, kRoofBf16DotOps, &Roofs::bf16_dot},
      {IsaLevel::kAmx, roof_int8_x86_amx, kRoofInt8TileOps, &Roofs::int8_tile},
      {IsaLevel::kAmx, roof_bf16_x86_amx, kRoofBf16TileOps, &Roofs::bf16_tile},
  };
  for (const Unit& unit : kUnits) {
    if (!cpu.has(unit.level)) continue;
    double& roof = roofs.*unit.roof;
    roof = std::max(roof, measure_peak(unit.kernel, unit.ops_per_round, threads));
  }
#endif
  return roofs;
}

std::vector<std::pair<std::string, std::string>> describe(const Roofs& roofs) {
  std::vector<std::pair<std::string, std::string>> lines;
  auto add = [&](const char* what, double amount, const char* unit) {
    if (amount <= 0) return;
    char text[64];
    std::snprintf(text, sizeof text, "%.1f %s", amount / 1e9, unit);
    lines.emplace_back(what, text);
  };
  add("sequential read", roofs.read, "GB/s");
  add("copy", roofs.copy, "GB/s");
  add("f32 multiply-add", roofs.f32, "GFLOP/s");
  add("bf16 dot product", roofs.bf16_dot, "GFLOP/s");
  add("int8 dot product", roofs.int8_dot, "Gop/s");
  add("bf16 matrix tiles", roofs.bf16_tile, "GFLOP/s");
  add("int8 matrix tiles", roofs.int8_tile, "Gop/s");
  return lines;
}

}  // namespace tessera::bench
