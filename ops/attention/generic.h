// Attention on vectors of either width. Scores and values are both products a b of rows of a (queries,
// weights) with a block b of the workspace (keys [dim][kKeys], values [kKeys][width]), made by one
// register-blocked tile: elements of a are broadcast, lanes run along b's rows. Each element of a product is
// one chain of FMAs in the order of the keys or dims, so tile sizes cannot change it.
#pragma once

#include "ops/attention/generic_rows.h"

namespace {

using tessera::ops::AttentionBlock;

constexpr std::int64_t kKeys = tessera::ops::kAttentionKeys;
// Accumulators at once: 6 x 4 of 32 registers, 6 x 2 of 16.
constexpr std::int64_t kSumRows = 6, kStripRows = 4 * kSumRows, kSumVectors = F32::kRegisters == 32 ? 4 : 2;
static_assert(kStripRows * kKeys <= tessera::ops::kAttentionScores);

// c = a b, or c = factor * c + a b with one factor a row. a and b hold what a unit multiplies, 32 bits each.
struct Product {
  const float *a, *b;
  float* c;
  const float* factor;  // null: c holds nothing yet
  std::int64_t a_stride, b_stride, c_stride, depth;
  // Beyond depth, half of what stands there is multiplied: only units of pairs have halves.
  bool half = false;
};

// Multiplies numbers.
struct Singles {
  static constexpr bool kHalves = false;
  static F32 multiply(F32 a, F32 b, F32 sum) { return F32::fma(a, b, sum); }
  static F32 half(F32 b) { return b; }
};

template <typename Unit, int kM, int kN>
inline void multiply_tile(const Product& p) {
  const float *a = p.a, *b = p.b, *factor = p.factor;
  float* c = p.c;
  const std::int64_t a_stride = p.a_stride, b_stride = p.b_stride, c_stride = p.c_stride, depth = p.depth;
  F32 sum[kM][kN];
#pragma GCC unroll 8
  for (int i = 0; i < kM; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) {
      sum[i][j] = factor ? F32::all(factor[i]) * F32::load(c + i * c_stride + j * kLanes) : F32::zero();
    }
  }
  for (std::int64_t k = 0; k < depth; ++k, ++a, b += b_stride) {
    F32 row[kN];
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) row[j] = F32::load(b + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kM; ++i) {
      const F32 element = F32::all(a[i * a_stride]);
#pragma GCC unroll 8
      for (int j = 0; j < kN; ++j) sum[i][j] = Unit::multiply(element, row[j], sum[i][j]);
    }
  }
  if (Unit::kHalves && p.half) {
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) {
      const F32 row = Unit::half(F32::load(b + j * kLanes));
#pragma GCC unroll 8
      for (int i = 0; i < kM; ++i) sum[i][j] = Unit::multiply(F32::all(a[i * a_stride]), row, sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kM; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) sum[i][j].store(c + i * c_stride + j * kLanes);
  }
}

template <typename Unit, int kN>
inline void multiply_columns(const Product& p, std::int64_t rows) {
  switch (rows) {
    case 1:
      return multiply_tile<Unit, 1, kN>(p);
    case 2:
      return multiply_tile<Unit, 2, kN>(p);
    case 3:
      return multiply_tile<Unit, 3, kN>(p);
    case 4:
      return multiply_tile<Unit, 4, kN>(p);
    case 5:
      return multiply_tile<Unit, 5, kN>(p);
    default:
      return multiply_tile<Unit, 6, kN>(p);
  }
}

template <typename Unit>
inline void multiply(Product p, std::int64_t rows, std::int64_t vectors) {
  while (rows > 0) {
    const std::int64_t m = even_part(rows, kSumRows);
    Product part = p;
    for (std::int64_t rest = vectors; rest > 0;) {
      const std::int64_t n = even_part(rest, kSumVectors);
      if (n == 1) {
        multiply_columns<Unit, 1>(part, m);
      } else if (n == 2) {
        multiply_columns<Unit, 2>(part, m);
      } else if constexpr (kSumVectors == 4) {
        n == 3 ? multiply_columns<Unit, 3>(part, m) : multiply_columns<Unit, 4>(part, m);
      }
      part.b += n * kLanes;
      part.c += n * kLanes;
      rest -= n;
    }
    p.a += m * p.a_stride;
    p.c += m * p.c_stride;
    if (p.factor) p.factor += m;
    rows -= m;
  }
}

// The carved workspace; `width` is dim padded with zeros.
struct Workspace {
  std::int64_t width;
  float *q, *y, *k, *v, *scores;
  float *sum, *largest, *next, *factor;  // a row: kLanes, 1, 1, 1

  explicit Workspace(const AttentionBlock& block) {
    constexpr std::int64_t kPad = tessera::ops::kAttentionLanes;
    const std::int64_t rows = tessera::ops::attention_rows(block.dim);
    width = tessera::ops::padded_dim(block.dim);
    q = block.workspace;
    y = q + rows * width;
    k = y + rows * width;
    v = k + kKeys * width;
    scores = v + kKeys * width;
    sum = scores + tessera::ops::kAttentionScores;
    // Factors are made a vector at a time, from any row on.
    largest = sum + rows * kPad;
    next = largest + rows + kPad;
    factor = next + rows + kPad;
  }
};

inline std::int64_t seen(const AttentionBlock& block, std::int64_t position) {
  const std::int64_t n = smaller(block.visible + position * block.growth, block.keys);
  return n > 0 ? n : 0;
}

// Scores are to base 2, the factor is part of the queries.
inline void begin_rows(const AttentionBlock& block, const Workspace& w) {
  const F32 scale = F32::all(block.scale * kLog2E);
  for (std::int64_t r = 0; r < block.positions * block.heads; ++r) {
    const float* q = block.q + r / block.heads * block.q_stride + r % block.heads * block.q_head_stride;
    for (std::int64_t i = 0; i < w.width; i += kLanes) {
      (i < block.dim ? load_part(q + i, block.dim - i) * scale : F32::zero()).store(w.q + r * w.width + i);
      F32::zero().store(w.y + r * w.width + i);
    }
    F32::zero().store(w.sum + r * kLanes);
    w.largest[r] = -__builtin_inff();
  }
}

// k as [width][kKeys]; columns from `count` on repeat the last key.
template <typename Row>
inline void load_keys(const AttentionBlock& block, const Workspace& w, std::int64_t first,
                      std::int64_t count) {
  const std::byte* k = block.k + first * block.k_stride;
  for (std::int64_t s = 0; s < count; s += kLanes) {
    for (std::int64_t i = 0; i < block.dim; i += kLanes) {
      F32 rows[kLanes];
#pragma GCC unroll 16
      for (std::int64_t j = 0; j < kLanes; ++j) {
        rows[j] = Row{k + smaller(s + j, count - 1) * block.k_stride}.load(i, block.dim - i);
      }
      F32::transpose(rows);
#pragma GCC unroll 16
      for (std::int64_t j = 0; j < kLanes; ++j) rows[j].store(w.k + (i + j) * kKeys + s);
    }
  }
}

// v as [count][width].
template <typename Row>
inline void load_values(const AttentionBlock& block, const Workspace& w, std::int64_t first,
                        std::int64_t count) {
  const std::byte* v = block.v + first * block.v_stride;
  for (std::int64_t s = 0; s < count; ++s) {
    const Row row{v + s * block.v_stride};
    for (std::int64_t i = 0; i < w.width; i += kLanes) {
      (i < block.dim ? row.load(i, block.dim - i) : F32::zero()).store(w.v + s * w.width + i);
    }
  }
}

// Of `count` keys from `first` on that lie in tiles: store(s, i, dims) gets kLanes keys from first + s on, of
// dims i to i + 3. Beside the last key stands another one of the tile.
template <typename Store>
inline void for_each_key_of_tiles(const AttentionBlock& block, std::int64_t first, std::int64_t count,
                                  const Store& store) {
  for (std::int64_t s = 0; s < count; s += kLanes) {
    const TileQ8_0 tile = TileQ8_0::of_row(block.k, first + s, block.k_stride, block.dim);
    for (std::int64_t i = 0; i < block.dim; i += 4) {
      F32 dims[4];
      tile.load_keys((first + s) % kCacheTileRows, i, dims);
      store(s, i, dims);
    }
  }
}

// The same of values: store(s, i, rows) gets kLanes dims from i on of values first + s to first + s + 3.
template <typename Store>
inline void for_each_value_of_tiles(const AttentionBlock& block, std::int64_t first, std::int64_t count,
                                    const Store& store) {
  for (std::int64_t s = 0; s < count; s += 4) {
    const TileQ8_0 tile = TileQ8_0::of_row(block.v, first + s, block.v_stride, block.dim);
    for (std::int64_t i = 0; i < block.dim; i += kLanes) {
      F32 rows[4];
      tile.load_values((first + s) % kCacheTileRows, i, rows);
      store(s, i, rows);
    }
  }
}

template <>
inline void load_keys<TileQ8_0>(const AttentionBlock& block, const Workspace& w, std::int64_t first,
                                std::int64_t count) {
  for_each_key_of_tiles(block, first, count, [&](std::int64_t s, std::int64_t i, const F32(&dims)[4]) {
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < 4; ++j) dims[j].store(w.k + (i + j) * kKeys + s);
  });
}

template <>
inline void load_values<TileQ8_0>(const AttentionBlock& block, const Workspace& w, std::int64_t first,
                                  std::int64_t count) {
  for_each_value_of_tiles(block, first, count, [&](std::int64_t s, std::int64_t i, const F32(&rows)[4]) {
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < 4; ++j) rows[j].store(w.v + (s + j) * w.width + i);
  });
}

// Turns n scores of each of the rows, a strip, into weights, and moves the rows' maxima and sums on. Lanes
// beyond n become -inf: their weight of 1.2e-38 is never read and is lost beside the sum, which is at
// least 1.
inline void weigh(const Workspace& w, std::int64_t first, std::int64_t rows, std::int64_t n) {
  const std::int64_t padded = (n + kLanes - 1) / kLanes * kLanes;
  for (std::int64_t r = first; r < first + rows; ++r) {
    float* s = w.scores + (r - first) * kKeys;
    for (std::int64_t i = n; i < padded; ++i) s[i] = -__builtin_inff();
    F32 top = F32::all(w.largest[r]);
    for (std::int64_t i = 0; i < n; i += kLanes) top = F32::max(F32::load(s + i), top);
    w.next[r] = top.largest();
  }
  for (std::int64_t r = first; r < first + rows; r += kLanes) {
    exp2(F32::load(w.largest + r) - F32::load(w.next + r)).store(w.factor + r);
  }
  for (std::int64_t r = first; r < first + rows; ++r) {
    float* s = w.scores + (r - first) * kKeys;
    const F32 top = F32::all(w.next[r]);
    F32 sum = F32::zero();
    for (std::int64_t i = 0; i < n; i += kLanes) {
      const F32 weight = exp2(F32::load(s + i) - top);
      weight.store(s + i);
      sum = sum + weight;
    }
    F32::fma(F32::load(w.sum + r * kLanes), F32::all(w.factor[r]), sum).store(w.sum + r * kLanes);
    w.largest[r] = w.next[r];
  }
}

// Lets the rows that see any of `count` keys from `first` on attend to them. Rows that see equally many go
// together, a strip whose scores stay in the first cache, and beyond what they see nothing is added: 0 * NaN
// would not be nothing.
inline void attend_keys(const AttentionBlock& block, const Workspace& w, std::int64_t first,
                        std::int64_t count) {
  const auto keys = [&](std::int64_t r) { return smaller(seen(block, r / block.heads) - first, count); };
  const std::int64_t rows = block.positions * block.heads;
  for (std::int64_t r = 0, same; r < rows; r += same) {
    const std::int64_t n = keys(r);
    same = 1;
    while (same < kStripRows && r + same < rows && keys(r + same) == n) ++same;
    if (n <= 0) continue;
    float* y = w.y + r * w.width;
    multiply<Singles>({w.q + r * w.width, w.k, w.scores, nullptr, w.width, kKeys, kKeys, block.dim}, same,
                      (n + kLanes - 1) / kLanes);
    weigh(w, r, same, n);
    multiply<Singles>({w.scores, w.v, y, w.factor + r, kKeys, w.width, w.width, n}, same, w.width / kLanes);
  }
}

template <typename Space>
inline void end_rows(const AttentionBlock& block, const Space& w) {
  for (std::int64_t r = 0; r < block.positions * block.heads; ++r) {
    const float sum = F32::load(w.sum + r * kLanes).sum();
    const F32 factor = F32::all(sum == 0 ? 0.0f : 1.0f / sum);
    float* y = block.y + r / block.heads * block.y_stride + r % block.heads * block.y_head_stride;
    for (std::int64_t i = 0; i < block.dim; i += kLanes) {
      const F32 value = F32::load(w.y + r * w.width + i) * factor;
      if (block.dim - i >= kLanes) {
        value.store(y + i);
      } else {
        value.store_n(y + i, block.dim - i);
      }
    }
  }
}

template <typename Row>
inline void attend(const AttentionBlock& block) {
  const Workspace w(block);
  begin_rows(block, w);
  const std::int64_t keys = seen(block, block.positions - 1);
  for (std::int64_t first = 0; first < keys; first += kKeys) {
    const std::int64_t count = smaller(kKeys, keys - first);
    load_keys<Row>(block, w, first, count);
    load_values<Row>(block, w, first, count);
    attend_keys(block, w, first, count);
  }
  end_rows(block, w);
}

}  // namespace
