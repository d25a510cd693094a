// Rows of keys and values of each type, widened to f32: what the vector kernels of this folder share.
#pragma once

namespace {

constexpr std::int64_t kLanes = F32::kLanes;

inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
// The first of the fewest parts of n, each at most `most` and about equally large.
inline std::int64_t even_part(std::int64_t n, std::int64_t most) {
  const std::int64_t parts = (n + most - 1) / most;
  return (n + parts - 1) / parts;
}

// Calls `line` for each cache line of rows that are used next.
template <typename Line>
inline void for_each_line(const std::byte* first, std::int64_t count, std::int64_t stride, std::int64_t bytes,
                          Line line) {
  if (stride == bytes) {
    bytes *= count;
    count = 1;
  }
  for (std::int64_t s = 0; s < count; ++s) {
    for (std::int64_t at = 0; at < bytes; at += 64) line(first + s * stride + at);
  }
}

// Into the second cache, without waiting. Each line occupies one of few miss buffers for as long as memory
// takes, and the processor does not read ahead: half of a core's bandwidth at best.
inline void prefetch_rows(const std::byte* first, std::int64_t count, std::int64_t stride,
                          std::int64_t bytes) {
  for_each_line(first, count, stride, bytes, [](const std::byte* line) { __builtin_prefetch(line, 0, 2); });
}

// Loads from each line. The processor reads ahead of loads in the order of memory, at full bandwidth; one
// that does not (Cpu::bytes_ahead) is asked for lines `ahead` bytes later instead, into the first cache.
inline void touch_rows(const std::byte* first, std::int64_t count, std::int64_t stride, std::int64_t bytes,
                       std::int64_t ahead) {
  for_each_line(first, count, stride, bytes, [ahead](const std::byte* line) {
    if (ahead > 0) {
      __builtin_prefetch(line + ahead);
    } else {
      static_cast<void>(*static_cast<const volatile std::byte*>(line));
    }
  });
}

inline F32 load_part(const float* p, std::int64_t n) {
  return n >= kLanes ? F32::load(p) : F32::load_n(p, n);
}

// A key or value as the cache has it: load gives kLanes of its elements from i on, of which there are n.
struct RowF32 {
  const std::byte* row;
  static std::int64_t bytes(std::int64_t dim) { return 4 * dim; }
  F32 load(std::int64_t i, std::int64_t n) const {
    return load_part(reinterpret_cast<const float*>(row) + i, n);
  }
};
struct RowF16 {
  const std::byte* row;
  static std::int64_t bytes(std::int64_t dim) { return 2 * dim; }
  F32 load(std::int64_t i, std::int64_t n) const {
    const auto* p = reinterpret_cast<const std::uint16_t*>(row) + i;
    return n >= kLanes ? F32::load_f16(p) : F32::load_f16_n(p, n);
  }
};
struct RowBf16 {
  const std::byte* row;
  static std::int64_t bytes(std::int64_t dim) { return 2 * dim; }
  const std::uint16_t* at(std::int64_t i) const { return reinterpret_cast<const std::uint16_t*>(row) + i; }
  F32 load(std::int64_t i, std::int64_t n) const {
    return n >= kLanes ? F32::load_bf16(at(i)) : F32::load_bf16_n(at(i), n);
  }
};
// A scale of 11 bits times a code of 8 is exact.
struct RowQ8_0 {
  static constexpr std::int64_t kElems = 32, kBytes = 34;
  const std::byte* row;
  static std::int64_t bytes(std::int64_t dim) { return dim / kElems * kBytes; }
  F32 load(std::int64_t i, std::int64_t) const {
    const std::byte* block = row + i / kElems * kBytes;
    return F32::all_f16(*reinterpret_cast<const std::uint16_t*>(block)) *
           F32::load_i8(reinterpret_cast<const std::int8_t*>(block + 2 + i % kElems));
  }
};

}  // namespace
