// One query position on vectors of either width: each key and value is loaded once for up to four query
// heads.
//
// Whatever heads stand beside it, scores, maximum, sum and values of a head are made in the same order. A Way
// makes scores of a few keys, and adds values times weights, whose lanes run along dim.
//
// A run goes through scores of all keys, then weights, then values: rows are read in the order of memory. A
// Way that needs them in another order touches them one after the other just before.
#pragma once

#include "ops/attention/generic_rows.h"

namespace {

using tessera::ops::DecodeMerge;
using tessera::ops::DecodeRun;
using tessera::ops::kDecodeKeys;
using tessera::ops::kDecodeRunKeys;

// Keys whose values are gone through at a time, in parts of dim: little enough to stay in the first cache.
constexpr std::int64_t kStripKeys = 16;

// What up to four heads need.
struct DecodeSpace {
  std::int64_t width;
  float *q, *scores;  // [heads][width], [heads][kDecodeRunKeys]; weights follow scores
  float* parts;       // of the Way

  explicit DecodeSpace(const DecodeRun& run)
      : width(tessera::ops::padded_dim(run.dim)),
        q(run.workspace),
        scores(q + 4 * width),
        parts(scores + 4 * kDecodeRunKeys) {}
};

// A block of keys of a run.
struct DecodeBlock {
  const std::byte* v;
  float *scores, *y;  // of its first head; y is a partial result
  std::int64_t v_stride, y_stride, keys, dim, bytes_ahead;
  const std::byte* next;  // values to ask for while weights are made, kNextBytes for each key; may be null
};

// Nothing is read while weights are made: so much comes meanwhile of what the run before, whose values end
// where these begin, has not asked for.
constexpr std::int64_t kNextBytes = 16;

// Scores are to base 2, the factor is part of the queries.
template <int kHeads>
inline void begin_heads(const DecodeRun& run, const DecodeSpace& w, const float* q) {
  const F32 scale = F32::all(run.scale * kLog2E);
  for (int h = 0; h < kHeads; ++h, q += run.q_head_stride) {
    for (std::int64_t i = 0; i < w.width; i += kLanes) {
      (i < run.dim ? load_part(q + i, run.dim - i) * scale : F32::zero()).store(w.q + h * w.width + i);
    }
  }
}

// Turns scores into weights, which the Way keeps as it needs them, and begins the partial results. Lanes
// beyond the keys become -inf: their weight of 1.2e-38 is lost beside the sum, which is at least 1.
template <typename Way, int kHeads>
inline void weigh_block(std::int64_t width, const DecodeBlock& block) {
  const std::int64_t n = block.keys, padded = (n + 2 * kLanes - 1) / (2 * kLanes) * (2 * kLanes);
  const auto scores = [&](int h) { return block.scores + h * kDecodeRunKeys; };
  F32 top[kHeads], sum[kHeads];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    for (std::int64_t i = n; i < padded; ++i) scores(h)[i] = -__builtin_inff();
    top[h] = F32::all(-__builtin_inff());
    sum[h] = F32::zero();
  }
  for (std::int64_t i = 0; i < padded; i += kLanes) {
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) top[h] = F32::max(F32::load(scores(h) + i), top[h]);
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    float* y = block.y + h * block.y_stride;
    for (std::int64_t i = 0; i < width; i += kLanes) F32::zero().store(y + i);
    y[width] = top[h].largest();
    top[h] = F32::all(y[width]);
  }
  for (std::int64_t i = 0; i < padded; i += 2 * kLanes) {
    if (block.next) {
      for (std::int64_t s = 0; s < 2 * kLanes; s += 64 / kNextBytes) {
        __builtin_prefetch(block.next + (i + s) * kNextBytes);
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const F32 low = F32::load(scores(h) + i) - top[h], high = F32::load(scores(h) + i + kLanes) - top[h];
      sum[h] = Way::keep_weights(low, high, scores(h), i, sum[h]);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) block.y[h * block.y_stride + width + 1] = sum[h].sum();
}

// Weights as f32, from logarithms to base 2 of two vectors of them; adds them to a sum.
inline F32 keep_floats(F32 low, F32 high, float* weights, std::int64_t i, F32 sum) {
  low = exp2(low);
  high = exp2(high);
  low.store(weights + i);
  high.store(weights + i + kLanes);
  return sum + low + high;
}

// What multiplies f32, one key after the other.
template <typename Row>
struct Widened {
  using Operand = F32;
  static constexpr std::int64_t kKeys = 1, kDims = kLanes;  // keys in a lane of values, dims in all of keys

  static std::int64_t row_bytes(std::int64_t dim) { return Row::bytes(dim); }
  static void begin(const DecodeSpace&, int) {}
  static F32 query(const DecodeSpace& w, int h, std::int64_t i) { return F32::load(w.q + h * w.width + i); }
  static F32 key(const std::byte* row, std::int64_t i, std::int64_t dim) { return Row{row}.load(i, dim - i); }
  static F32 keep_weights(F32 low, F32 high, float* weights, std::int64_t i, F32 sum) {
    return keep_floats(low, high, weights, i, sum);
  }
  static F32 weight(const float* weights, std::int64_t s) { return F32::all(weights[s]); }
  static F32 value(const DecodeBlock& block, std::int64_t s, std::int64_t i) {
    return Row{block.v + s * block.v_stride}.load(i, block.dim - i);
  }
  static F32 add(F32 a, F32 b, F32 sum) { return F32::fma(a, b, sum); }
};

// The way of decoding that multiplies floats, Units. Lanes of scores run along dim, one accumulator for each
// pair of key and head; kLanes of them are summed by one tree.
template <typename Units>
struct FloatProducts {
  using Operand = typename Units::Operand;
  static constexpr std::int64_t kKeys = Units::kKeys;
  template <int kHeads>
  static constexpr int kTileKeys = kLanes / kHeads;

  static std::int64_t ahead(const DecodeRun& run) { return run.bytes_ahead; }
  template <int kHeads>
  static void begin(const DecodeRun&, const DecodeSpace& w) {
    for (int h = 0; h < kHeads; ++h) Units::begin(w, h);
  }

  // Scores of kTileKeys keys from `first` on; keys beyond the run's repeat its last.
  template <int kHeads>
  static void score(const DecodeRun& run, const DecodeSpace& w, std::int64_t first) {
    constexpr int kTile = kTileKeys<kHeads>;
    touch_rows(run.k + first * run.k_stride, smaller(kTile, run.keys - first), run.k_stride,
               Units::row_bytes(run.dim), run.bytes_ahead);
    const std::byte* rows[kTile];
#pragma GCC unroll 16
    for (int j = 0; j < kTile; ++j) rows[j] = run.k + smaller(first + j, run.keys - 1) * run.k_stride;
    F32 sum[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) sum[i] = F32::zero();
    for (std::int64_t i = 0; i < run.dim; i += Units::kDims) {
      Operand q[kHeads];
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) q[h] = Units::query(w, h, i);
#pragma GCC unroll 16
      for (int j = 0; j < kTile; ++j) {
        const Operand key = Units::key(rows[j], i, run.dim);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          sum[h * kTile + j] = Units::add(q[h], key, sum[h * kTile + j]);
        }
      }
    }
    F32::sums(sum).template store_parts<kHeads>(w.scores + first, kDecodeRunKeys);
  }

  static F32 keep_weights(F32 low, F32 high, float* weights, std::int64_t i, F32 sum) {
    return Units::keep_weights(low, high, weights, i, sum);
  }

  template <int kHeads>
  static void add(const DecodeBlock& block) {
    // Accumulators of a tile: 4 x 4 of 32 registers, 4 x 2 of 16.
    constexpr int kVectors = (F32::kRegisters == 32 ? 16 : 8) / (kHeads < 2 ? 2 : kHeads);
    for (std::int64_t s = 0; s < block.keys; s += kStripKeys) {
      const std::int64_t last = smaller(s + kStripKeys, block.keys);
      std::int64_t i = 0;
      for (; i + kVectors * kLanes <= block.dim; i += kVectors * kLanes) {
        add_values<kHeads, kVectors>(block, s, last, i);
      }
      for (; i < block.dim; i += kLanes) add_values<kHeads, 1>(block, s, last, i);
    }
  }

 private:
  // y += weights * v for keys [first, last), dims from i on.
  template <int kHeads, int kVectors>
  static void add_values(const DecodeBlock& block, std::int64_t first, std::int64_t last, std::int64_t i) {
    F32 sum[kHeads][kVectors];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) sum[h][j] = F32::load(block.y + h * block.y_stride + i + j * kLanes);
    }
    for (std::int64_t s = first; s < last; s += kKeys) {
      if (i == 0) {
        touch_rows(block.v + s * block.v_stride, smaller(kKeys, last - s), block.v_stride,
                   Units::row_bytes(block.dim), block.bytes_ahead);
      }
      Operand value[kVectors];
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) value[j] = Units::value(block, s, i + j * kLanes);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Operand weight = Units::weight(block.scores + h * kDecodeRunKeys, s);
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) sum[h][j] = Units::add(weight, value[j], sum[h][j]);
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) sum[h][j].store(block.y + h * block.y_stride + i + j * kLanes);
    }
  }
};

template <typename Way, int kHeads>
inline void decode_heads(const DecodeRun& run, std::int64_t head) {
  const DecodeSpace w(run);
  begin_heads<kHeads>(run, w, run.q + head * run.q_head_stride);
  Way::template begin<kHeads>(run, w);

  const std::int64_t ahead = Way::ahead(run);
  const auto block = [&](std::int64_t first) {
    float* partial = run.partial + first / kDecodeKeys * tessera::ops::decode_partial_floats(run.dim);
    return DecodeBlock{.v = run.v + first * run.v_stride,
                       .scores = w.scores + first,
                       .y = partial + head * run.partial_stride,
                       .v_stride = run.v_stride,
                       .y_stride = run.partial_stride,
                       .keys = smaller(kDecodeKeys, run.keys - first),
                       .dim = run.dim,
                       .bytes_ahead = run.bytes_ahead,
                       .next = ahead > 0 ? run.v + ahead + first * kNextBytes : nullptr};
  };
  constexpr int kTileKeys = Way::template kTileKeys<kHeads>;
  for (std::int64_t s = 0; s < run.keys; s += kTileKeys) Way::template score<kHeads>(run, w, s);
  for (std::int64_t s = 0; s < run.keys; s += kDecodeKeys) weigh_block<Way, kHeads>(w.width, block(s));
  for (std::int64_t s = 0; s < run.keys; s += kDecodeKeys) Way::template add<kHeads>(block(s));
}

template <typename Way>
inline void decode(const DecodeRun& run) {
  std::int64_t head = 0;
  for (; head + 4 <= run.heads; head += 4) decode_heads<Way, 4>(run, head);
  for (; head + 2 <= run.heads; head += 2) decode_heads<Way, 2>(run, head);
  for (; head < run.heads; ++head) decode_heads<Way, 1>(run, head);
}

inline void merge_blocks(const DecodeMerge& head) {
  const std::int64_t width = tessera::ops::padded_dim(head.dim);
  const auto block = [&](std::int64_t b) { return head.partials + b * head.stride; };
  F32 top = F32::all(-__builtin_inff());
  for (std::int64_t b = 0; b < head.blocks; ++b) top = F32::max(F32::all(block(b)[width]), top);
  F32 sum = F32::zero();
  for (std::int64_t b = 0; b < head.blocks; ++b) {
    const F32 factor = exp2(F32::all(block(b)[width]) - top);
    factor.store_n(head.factors + b, 1);
    sum = F32::fma(factor, F32::all(block(b)[width + 1]), sum);
  }
  const F32 whole = head.blocks > 0 ? F32::all(1.0f) / sum : F32::zero();
  for (std::int64_t i = 0; i < head.dim; i += kLanes) {
    F32 y = F32::zero();
    for (std::int64_t b = 0; b < head.blocks; ++b) {
      y = F32::fma(F32::all(head.factors[b]), F32::load(block(b) + i), y);
    }
    y = y * whole;
    if (head.dim - i >= kLanes) {
      y.store(head.y + i);
    } else {
      y.store_n(head.y + i, head.dim - i);
    }
  }
}

}  // namespace
