// One query position on vectors of either width: each key and value is loaded once for up to four query
// heads.
//
// Whatever heads stand beside it, scores, maximum, sum and values of a head are made in the same order. A Way
// makes scores of a few keys, and adds values times weights, whose lanes run along dim.
//
// Memory is read evenly: while the keys of a block are multiplied its values are asked for, and while its
// values are, the keys of the next block, a few rows at a time into the second cache. More at once would keep
// the loads of this block waiting.
#pragma once

#include "ops/attention/generic_rows.h"

namespace {

using tessera::ops::DecodeBlock;
using tessera::ops::DecodeMerge;
using tessera::ops::kDecodeKeys;

// Keys whose values are gone through at a time, in parts of dim. So few that the prefetcher of the CPU sees
// one stream.
constexpr std::int64_t kStripKeys = 16;

// What up to four heads need.
struct DecodeSpace {
  std::int64_t width;
  float *q, *scores;  // [heads][width], [heads][kDecodeKeys]
  float* parts;       // of the Way
  float step[4];      // scores are multiplied by it
  std::int64_t row_bytes;

  DecodeSpace(const DecodeBlock& block, std::int64_t bytes)
      : width(tessera::ops::padded_dim(block.dim)),
        q(block.workspace),
        scores(q + 4 * width),
        parts(scores + 4 * kDecodeKeys),
        step{1, 1, 1, 1},
        row_bytes(bytes) {}
};

// Lane h * kLanes / kHeads + j is the score of head h and key j.
template <int kHeads>
inline void store_scores(F32 scores, float* to) {
  constexpr int kTileKeys = kLanes / kHeads;
  float all[kLanes];
  scores.store(all);
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    __builtin_memcpy(to + h * kDecodeKeys, all + h * kTileKeys, kTileKeys * sizeof(float));
  }
}

// Turns n scores, to be multiplied by step, into weights, and fills up two vectors with zeros. Before that,
// lanes beyond n become -inf: their weight of 1.2e-38 is lost beside the sum, which is at least 1.
inline void weigh_head(float* scores, std::int64_t n, float step, float* end) {
  const std::int64_t padded = (n + kLanes - 1) / kLanes * kLanes;
  for (std::int64_t i = n; i < padded; ++i) scores[i] = -__builtin_inff();
  F32 top = F32::all(-__builtin_inff());
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const F32 score = F32::load(scores + i) * F32::all(step);
    score.store(scores + i);
    top = F32::max(score, top);
  }
  end[0] = top.largest();
  top = F32::all(end[0]);
  F32 total = F32::zero();
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const F32 weight = exp(F32::load(scores + i) - top);
    weight.store(scores + i);
    total = total + weight;
  }
  end[1] = total.sum();
  for (std::int64_t i = n; i % (2 * kLanes) != 0; ++i) scores[i] = 0;
}

template <int kHeads>
inline void begin_heads(const DecodeBlock& block, const DecodeSpace& w, const float* q, float* partial) {
  const F32 scale = F32::all(block.scale);
  for (int h = 0; h < kHeads; ++h, q += block.q_head_stride, partial += block.partial_stride) {
    for (std::int64_t i = 0; i < w.width; i += kLanes) {
      (i < block.dim ? load_part(q + i, block.dim - i) * scale : F32::zero()).store(w.q + h * w.width + i);
      F32::zero().store(partial + i);
    }
  }
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
  static void end_weights(const DecodeSpace&, int, std::int64_t, float*) {}
  static F32 weight(const DecodeSpace& w, int h, std::int64_t s) {
    return F32::all(w.scores[h * kDecodeKeys + s]);
  }
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

  static std::int64_t row_bytes(std::int64_t dim) { return Units::row_bytes(dim); }
  template <int kHeads>
  static void begin(const DecodeBlock&, DecodeSpace& w) {
    for (int h = 0; h < kHeads; ++h) Units::begin(w, h);
  }

  // Scores of kTileKeys keys from `first` on; keys beyond the block's repeat its last.
  template <int kHeads>
  static void score(const DecodeBlock& block, const DecodeSpace& w, std::int64_t first) {
    constexpr int kTile = kTileKeys<kHeads>;
    prefetch_rows(block.v + first * block.v_stride, kTile, block.v_stride, w.row_bytes);
    const std::byte* rows[kTile];
#pragma GCC unroll 16
    for (int j = 0; j < kTile; ++j) {
      rows[j] = block.k + smaller(first + j, block.keys - 1) * block.k_stride;
    }
    F32 sum[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) sum[i] = F32::zero();
    for (std::int64_t i = 0; i < block.dim; i += Units::kDims) {
      Operand q[kHeads];
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) q[h] = Units::query(w, h, i);
#pragma GCC unroll 16
      for (int j = 0; j < kTile; ++j) {
        const Operand key = Units::key(rows[j], i, block.dim);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          sum[h * kTile + j] = Units::add(q[h], key, sum[h * kTile + j]);
        }
      }
    }
    store_scores<kHeads>(F32::sums(sum), w.scores + first);
  }

  template <int kHeads>
  static void add(const DecodeBlock& block, const DecodeSpace& w, float* y) {
    // Accumulators of a tile: 4 x 4 of 32 registers, 4 x 2 of 16.
    constexpr int kVectors = (F32::kRegisters == 32 ? 16 : 8) / (kHeads < 2 ? 2 : kHeads);
    for (int h = 0; h < kHeads; ++h) {
      Units::end_weights(w, h, block.keys, y + h * block.partial_stride + w.width);
    }
    for (std::int64_t s = 0; s < block.keys; s += kStripKeys) {
      const std::int64_t last = smaller(s + kStripKeys, block.keys);
      std::int64_t i = 0;
      for (; i + kVectors * kLanes <= block.dim; i += kVectors * kLanes) {
        add_values<kHeads, kVectors>(block, w, y, s, last, i);
      }
      for (; i < block.dim; i += kLanes) add_values<kHeads, 1>(block, w, y, s, last, i);
    }
  }

 private:
  // y += weights * v for keys [first, last), dims from i on.
  template <int kHeads, int kVectors>
  static void add_values(const DecodeBlock& block, const DecodeSpace& w, float* y, std::int64_t first,
                         std::int64_t last, std::int64_t i) {
    F32 sum[kHeads][kVectors];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        sum[h][j] = F32::load(y + h * block.partial_stride + i + j * kLanes);
      }
    }
    const std::int64_t begin = Units::row_bytes(i), end = Units::row_bytes(i + kVectors * kLanes);
    for (std::int64_t s = first; s < last; s += kKeys) {
      const std::byte* next = block.k + (s + kDecodeKeys) * block.k_stride + begin;
      prefetch_rows(next, kKeys, block.k_stride, end - begin);
      Operand value[kVectors];
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) value[j] = Units::value(block, s, i + j * kLanes);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Operand weight = Units::weight(w, h, s);
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) sum[h][j] = Units::add(weight, value[j], sum[h][j]);
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) sum[h][j].store(y + h * block.partial_stride + i + j * kLanes);
    }
  }
};

template <typename Way, int kHeads>
inline void decode_heads(const DecodeBlock& block, std::int64_t head) {
  DecodeSpace w(block, Way::row_bytes(block.dim));
  float* partial = block.partial + head * block.partial_stride;
  begin_heads<kHeads>(block, w, block.q + head * block.q_head_stride, partial);
  Way::template begin<kHeads>(block, w);

  constexpr int kTileKeys = Way::template kTileKeys<kHeads>;
  for (std::int64_t s = 0; s < block.keys; s += kTileKeys) Way::template score<kHeads>(block, w, s);
  for (int h = 0; h < kHeads; ++h) {
    weigh_head(w.scores + h * kDecodeKeys, block.keys, w.step[h],
               partial + h * block.partial_stride + w.width);
  }
  Way::template add<kHeads>(block, w, partial);
}

template <typename Way>
inline void decode(const DecodeBlock& block) {
  std::int64_t head = 0;
  for (; head + 4 <= block.heads; head += 4) decode_heads<Way, 4>(block, head);
  for (; head + 2 <= block.heads; head += 2) decode_heads<Way, 2>(block, head);
  for (; head < block.heads; ++head) decode_heads<Way, 1>(block, head);
}

inline void merge_blocks(const DecodeMerge& head) {
  const std::int64_t width = tessera::ops::padded_dim(head.dim);
  const auto block = [&](std::int64_t b) { return head.partials + b * head.stride; };
  F32 top = F32::all(-__builtin_inff());
  for (std::int64_t b = 0; b < head.blocks; ++b) top = F32::max(F32::all(block(b)[width]), top);
  F32 sum = F32::zero();
  for (std::int64_t b = 0; b < head.blocks; ++b) {
    const F32 factor = exp(F32::all(block(b)[width]) - top);
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
