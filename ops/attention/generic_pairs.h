// Attention on dot products of pairs of bf16: queries, keys, weights and values are rounded to bf16, products
// are summed in f32, as are weights. Scores are to base 2, the factor is part of the queries.
//
// Keys lie as [dim / 2][64] pairs of dims, panel after panel, values as [keys / 2][width] pairs of keys. Rows
// take a block of keys in strips, so that their scores stay in the first cache.
#pragma once

#include "ops/attention/generic.h"

namespace {

constexpr std::int64_t kPanelKeys = kSumVectors * kLanes, kBlockKeys = 2 * kPanelKeys;

struct DotsOfPairs {
  static constexpr bool kHalves = true;
  static F32 multiply(F32 a, F32 b, F32 sum) { return Pairs::dot(Pairs::of_bits(a), Pairs::of_bits(b), sum); }
  static F32 half(F32 b) { return Pairs::of_bits(b).firsts().bits(); }
};

// The carved workspace: never larger than attention_workspace_floats.
struct PairSpace {
  std::int64_t width, pairs;  // dims padded; pairs of dims padded to whole vectors
  std::int64_t used_pairs;    // those that hold dims
  float *q, *y, *k, *v;       // pairs [rows][pairs], f32 [rows][width], pairs of keys, of values
  float *scores, *weights;    // of a strip: f32 [strip_rows][kBlockKeys], pairs [strip_rows][kBlockKeys / 2]
  float *sum, *largest, *next, *factor;  // a row: kLanes, 1, 1, 1

  PairSpace(const AttentionBlock& block, std::int64_t strip_rows) {
    const std::int64_t rows = tessera::ops::attention_rows(block.dim);
    width = tessera::ops::padded_dim(block.dim);
    pairs = (block.dim + 2 * kLanes - 1) / (2 * kLanes) * kLanes;
    used_pairs = (block.dim + 1) / 2;
    q = block.workspace;
    y = q + rows * pairs;
    k = y + rows * width;
    v = k + kBlockKeys * pairs;
    scores = v + kBlockKeys / 2 * width;
    weights = scores + strip_rows * kBlockKeys;
    sum = weights + strip_rows * kBlockKeys / 2;
    // Factors are made a vector at a time, from any row on.
    largest = sum + rows * kLanes;
    next = largest + rows + kLanes;
    factor = next + rows + kLanes;
  }
};

// 2 kLanes elements from i on of a row of dim, zero beyond it, as pairs.
template <typename Row>
inline Pairs load_pairs(const Row& row, std::int64_t i, std::int64_t dim) {
  const F32 low = row.load(i, dim - i);
  return Pairs::rounded(low, dim - i > kLanes ? row.load(i + kLanes, dim - i - kLanes) : F32::zero());
}

inline Pairs load_pairs(const RowBf16& row, std::int64_t i, std::int64_t dim) {
  return dim - i >= 2 * kLanes ? Pairs::load(row.at(i)) : load_pairs<RowBf16>(row, i, dim);
}

// kLanes elements from i on of two rows of dim, zero beyond it, beside each other.
template <typename Row>
inline Pairs load_both(const Row& first, const Row& second, std::int64_t i, std::int64_t dim) {
  return Pairs::interleaved(first.load(i, dim - i), second.load(i, dim - i));
}
inline Pairs load_both(const RowBf16& first, const RowBf16& second, std::int64_t i, std::int64_t dim) {
  if (dim - i < kLanes) return load_both<RowBf16>(first, second, i, dim);
  return Pairs::interleaved(first.at(i), second.at(i));
}

inline void begin_pair_rows(const AttentionBlock& block, const PairSpace& w) {
  struct Scaled {
    RowF32 row;
    F32 scale;
    F32 load(std::int64_t i, std::int64_t n) const { return row.load(i, n) * scale; }
  };
  const F32 scale = F32::all(block.scale * kLog2E);
  for (std::int64_t r = 0; r < block.positions * block.heads; ++r) {
    const float* q = block.q + r / block.heads * block.q_stride + r % block.heads * block.q_head_stride;
    const Scaled row{{reinterpret_cast<const std::byte*>(q)}, scale};
    for (std::int64_t i = 0; i < block.dim; i += 2 * kLanes) {
      load_pairs(row, i, block.dim).bits().store(w.q + r * w.pairs + i / 2);
    }
    for (std::int64_t i = 0; i < w.width; i += kLanes) F32::zero().store(w.y + r * w.width + i);
    F32::zero().store(w.sum + r * kLanes);
    w.largest[r] = -__builtin_inff();
  }
}

// Keys from `count` on repeat the last one.
template <typename Row>
inline void load_pair_keys(const AttentionBlock& block, const PairSpace& w, std::int64_t first,
                           std::int64_t count) {
  const std::byte* k = block.k + first * block.k_stride;
  for (std::int64_t s = 0; s < count; s += kLanes) {
    float* panel = w.k + s / kPanelKeys * kPanelKeys * w.pairs + s % kPanelKeys;
    for (std::int64_t i = 0; i < block.dim; i += 2 * kLanes) {
      F32 rows[kLanes];
#pragma GCC unroll 16
      for (std::int64_t j = 0; j < kLanes; ++j) {
        rows[j] = load_pairs(Row{k + smaller(s + j, count - 1) * block.k_stride}, i, block.dim).bits();
      }
      F32::transpose(rows);
#pragma GCC unroll 16
      for (std::int64_t j = 0; j < kLanes; ++j) rows[j].store(panel + (i / 2 + j) * kPanelKeys);
    }
  }
}

template <typename Row>
inline void load_pair_values(const AttentionBlock& block, const PairSpace& w, std::int64_t first,
                             std::int64_t count) {
  const std::byte* v = block.v + first * block.v_stride;
  for (std::int64_t s = 0; s < count; s += 2) {
    const Row even{v + s * block.v_stride}, odd{v + smaller(s + 1, count - 1) * block.v_stride};
    for (std::int64_t i = 0; i < block.dim; i += kLanes) {
      load_both(even, odd, i, block.dim).bits().store(w.v + s / 2 * w.width + i);
    }
  }
}

template <>
inline void load_pair_keys<TileQ8_0>(const AttentionBlock& block, const PairSpace& w, std::int64_t first,
                                     std::int64_t count) {
  for_each_key_of_tiles(block, first, count, [&](std::int64_t s, std::int64_t i, const F32(&dims)[4]) {
    float* to = w.k + s / kPanelKeys * kPanelKeys * w.pairs + s % kPanelKeys + i / 2 * kPanelKeys;
    Pairs::interleaved(dims[0], dims[1]).bits().store(to);
    Pairs::interleaved(dims[2], dims[3]).bits().store(to + kPanelKeys);
  });
}

template <>
inline void load_pair_values<TileQ8_0>(const AttentionBlock& block, const PairSpace& w, std::int64_t first,
                                       std::int64_t count) {
  for_each_value_of_tiles(block, first, count, [&](std::int64_t s, std::int64_t i, const F32(&rows)[4]) {
    Pairs::interleaved(rows[0], rows[1]).bits().store(w.v + s / 2 * w.width + i);
    Pairs::interleaved(rows[2], rows[3]).bits().store(w.v + (s / 2 + 1) * w.width + i);
  });
}

// Turns the n scores of row r, the strip's row at, into weights. Lanes beyond n become -inf: their weight of
// 2^-126 is never read and is lost beside the sum, which is at least 1.
inline void weigh_pairs(const PairSpace& w, std::int64_t r, std::int64_t at, std::int64_t n) {
  const float* s = w.scores + at * kBlockKeys;
  float* weights = w.weights + at * (kBlockKeys / 2);
  const F32 top = F32::all(w.next[r]);
  const Pairs ones = Pairs::rounded(F32::all(1.0f), F32::all(1.0f));
  F32 sum = F32::zero();
  for (std::int64_t i = 0; i < n; i += 2 * kLanes) {
    const Pairs pairs =
        Pairs::rounded(rough_exp2(F32::load(s + i) - top), rough_exp2(F32::load(s + i + kLanes) - top));
    pairs.bits().store(weights + i / 2);
    sum = Pairs::dot(pairs, ones, sum);
  }
  F32::fma(F32::load(w.sum + r * kLanes), F32::all(w.factor[r]), sum).store(w.sum + r * kLanes);
  w.largest[r] = w.next[r];
}

// Rows [first, last) of a strip whose first row is `strip`: maxima, then weights. Row r sees n(r) keys.
template <typename Seen>
inline void weigh_strip(const PairSpace& w, std::int64_t strip, std::int64_t first, std::int64_t last,
                        const Seen& n) {
  for (std::int64_t r = first; r < last; ++r) {
    float* s = w.scores + (r - strip) * kBlockKeys;
    const std::int64_t seen_keys = n(r), padded = (seen_keys + 2 * kLanes - 1) / (2 * kLanes) * 2 * kLanes;
    for (std::int64_t i = seen_keys; i < padded; ++i) s[i] = -__builtin_inff();
    F32 top = F32::all(w.largest[r]);
    for (std::int64_t i = 0; i < padded; i += kLanes) top = F32::max(F32::load(s + i), top);
    w.next[r] = top.largest();
  }
  for (std::int64_t r = first; r < last; r += kLanes) {
    exp2(F32::load(w.largest + r) - F32::load(w.next + r)).store(w.factor + r);
  }
  for (std::int64_t r = first; r < last; ++r) weigh_pairs(w, r, r - strip, n(r));
}

// y = factor * y + weights * values for rows [r, r + rows) of a strip, which see n keys of the block.
inline void add_pair_values(const PairSpace& w, std::int64_t strip, std::int64_t r, std::int64_t rows,
                            std::int64_t n) {
  multiply<DotsOfPairs>({.a = w.weights + (r - strip) * (kBlockKeys / 2),
                         .b = w.v,
                         .c = w.y + r * w.width,
                         .factor = w.factor + r,
                         .a_stride = kBlockKeys / 2,
                         .b_stride = w.width,
                         .c_stride = w.width,
                         .depth = n / 2,
                         .half = n % 2 != 0},
                        rows, w.width / kLanes);
}

// Products on vectors. Of a strip of rows: scores of the first n keys, n > 0, and what add_pair_values does
// for all keys of a block.
struct PairVectors {
  static constexpr std::int64_t kStripRows = ::kStripRows;

  static void begin() {}
  static void end() {}
  static void score(const PairSpace& w, std::int64_t strip, std::int64_t rows, std::int64_t n) {
    for (std::int64_t s = 0; s < n; s += kPanelKeys) {
      multiply<DotsOfPairs>({.a = w.q + strip * w.pairs,
                             .b = w.k + s * w.pairs,
                             .c = w.scores + s,
                             .factor = nullptr,
                             .a_stride = w.pairs,
                             .b_stride = kPanelKeys,
                             .c_stride = kBlockKeys,
                             .depth = w.used_pairs},
                            rows, (smaller(n - s, kPanelKeys) + kLanes - 1) / kLanes);
    }
  }
  static void add_block(const PairSpace& w, std::int64_t strip, std::int64_t r, std::int64_t rows) {
    add_pair_values(w, strip, r, rows, kBlockKeys);
  }
};

// Lets the rows of a strip that see any of `count` keys from `first` on attend to them. Beyond what a row
// sees nothing is added: 0 * NaN would not be nothing.
template <typename Unit>
inline void attend_strip(const AttentionBlock& block, const PairSpace& w, std::int64_t strip,
                         std::int64_t rows, std::int64_t first, std::int64_t count) {
  const auto n = [&](std::int64_t r) { return smaller(seen(block, r / block.heads) - first, count); };
  const std::int64_t last = strip + rows;
  std::int64_t r = strip;
  while (r < last && n(r) <= 0) ++r;
  if (r == last) return;
  Unit::score(w, strip, rows, n(last - 1));
  weigh_strip(w, strip, r, last, n);
  for (std::int64_t same; r < last; r += same) {
    same = 1;
    while (r + same < last && n(r + same) == n(r)) ++same;
    if (n(r) == kBlockKeys) {
      Unit::add_block(w, strip, r, same);
    } else {
      add_pair_values(w, strip, r, same, n(r));
    }
  }
}

// Asks for the keys and values of the block from `first` on that the share of rows [strip, strip_end) makes.
template <typename Row>
inline void prefetch_part(const AttentionBlock& block, std::int64_t first, std::int64_t keys,
                          std::int64_t strip, std::int64_t strip_end, std::int64_t rows) {
  const std::int64_t begin = first + strip * kBlockKeys / rows;
  const std::int64_t end = first + strip_end * kBlockKeys / rows;
  const std::int64_t count = smaller(end, keys) - begin, bytes = Row::bytes(block.dim);
  prefetch_rows(block.k + begin * block.k_stride, count, block.k_stride, bytes);
  prefetch_rows(block.v + begin * block.v_stride, count, block.v_stride, bytes);
}

template <typename Row, typename Unit>
inline void attend_pairs(const AttentionBlock& block) {
  static_assert(tessera::ops::attention_rows(1) % Unit::kStripRows == 0 &&
                tessera::ops::attention_rows(tessera::ops::kAttentionMaxDim) % Unit::kStripRows == 0);
  // Scores and weights, and what pairs of keys take more than f32: pairs of dims are padded to 16.
  static_assert(Unit::kStripRows * kBlockKeys * 3 / 2 + kBlockKeys * kLanes / 2 <=
                tessera::ops::kAttentionScores);
  const PairSpace w(block, Unit::kStripRows);
  begin_pair_rows(block, w);
  Unit::begin();
  const std::int64_t keys = seen(block, block.positions - 1), rows = block.positions * block.heads;
  for (std::int64_t first = 0; first < keys; first += kBlockKeys) {
    const std::int64_t count = smaller(kBlockKeys, keys - first);
    load_pair_keys<Row>(block, w, first, count);
    load_pair_values<Row>(block, w, first, count);
    for (std::int64_t strip = 0; strip < rows; strip += Unit::kStripRows) {
      const std::int64_t strip_rows = smaller(Unit::kStripRows, rows - strip);
      prefetch_part<Row>(block, first + kBlockKeys, keys, strip, strip + strip_rows, rows);
      attend_strip<Unit>(block, w, strip, strip_rows, first, count);
    }
  }
  Unit::end();
  end_rows(block, w);
}

}  // namespace
