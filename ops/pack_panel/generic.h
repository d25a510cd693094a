// Panels on vectors of either width: dwords of 16 rows are transposed, and codes move within them.
#pragma once

namespace {

using tessera::ops::BlockFormat;
using tessera::ops::kGroupQuads;
using tessera::ops::PanelRows;
using tessera::ops::quad_mask;
using tessera::ops::QuadPlace;
using tessera::ops::SubScales;

constexpr int kRows = 16, kVector = 64;  // bytes of one dword of each row

// Asks for bytes of the next panel's rows, which follow in the file: read on their own, 16 rows in turn, they
// would come one cache line at a time. Each line twice: a processor that has too many requests drops some.
template <std::int64_t kBytes>
[[gnu::always_inline]] inline void prefetch(const std::uint8_t* at) {
  constexpr std::int64_t kEarlier = 2048;
  for (std::int64_t i = 0; i < kBytes; i += kVector) {
    __builtin_prefetch(at + i + kEarlier);
    __builtin_prefetch(at + i);
  }
}

// ---- block formats ----

// The first kWords dwords, a multiple of four, that lie at `plane` and every `stride` bytes from there.
template <int kWords>
[[gnu::always_inline]] inline void load_words(const std::uint8_t* plane, std::int64_t stride,
                                              Columns (&words)[kWords]) {
#pragma GCC unroll 8
  for (int i = 0; i < kWords; i += 4) Columns::load(plane + 4 * i, stride, words + i);
}

// Word `word` of a group in a panel's plane of kBits bits. `file` has the words of a run or more of the
// file's plane, and the group's quads begin with the first one that they hold, plus `first`.
template <int kBits, int kRun>
[[gnu::always_inline]] inline Columns panel_word(const Columns* file, int first, int word) {
  if constexpr (kRun == kBits) return file[word];  // the file's order is the panel's
  Columns out = Columns::all(0);
#pragma GCC unroll 8
  for (int i = 0; i < 8 / kBits; ++i) {
    const QuadPlace at(kRun, kBits, first + word + i * kBits);
    out = out |
          (file[at.word].shifted_right(at.shift - kBits * i) & Columns::all(quad_mask(kBits) << kBits * i));
  }
  return out;
}

// Exchanges bit kA of each bit's number, which is from 0 to 31, with bit kB < kA.
template <int kA, int kB>
Columns exchange_index_bits(Columns x) {
  constexpr int kMove = (1 << kA) - (1 << kB);
  constexpr std::uint32_t kWithout[] = {0x55555555, 0x33333333, 0x0F0F0F0F, 0x00FF00FF, 0x0000FFFF};
  const Columns differ = (x.shifted_right(kMove) ^ x) & Columns::all(kWithout[kA] & ~kWithout[kB]);
  return x ^ differ ^ differ.shifted_right(-kMove);
}

// A row of bits, one for each of 32 codes, as a panel has them: the bit of code j of quad i, number 4 i + j,
// becomes number 8 j + i.
inline Columns panel_bits(Columns row) {
  return exchange_index_bits<1, 0>(
      exchange_index_bits<2, 1>(exchange_index_bits<3, 0>(exchange_index_bits<4, 1>(row))));
}

template <BlockFormat kFormat>
void pack_scales(const std::uint8_t* block, std::int64_t stride, std::uint8_t* out) {
  if constexpr (kFormat.has_min) {
    static_assert(kFormat.d_at == 0 && kFormat.m_at == 2);
    Columns head[4];
    Columns::load(block, stride, head);
    head[0].store_halves(out);
    if constexpr (kFormat.sub_scales == SubScales::kSixBits) {
      static_assert(kFormat.scales_at == 4);
      for (int i = 1; i < 4; ++i) head[i].store(out + kFormat.panel_scales() + (i - 1) * kVector);
    }
  } else {
    for (int c = 0; c < kRows; ++c) __builtin_memcpy(out + 2 * c, block + c * stride + kFormat.d_at, 2);
  }
  if constexpr (kFormat.sub_scales == SubScales::kInt8) {
    Columns scales[4];
    Columns::load(block + kFormat.scales_at, stride, scales);
    for (int i = 0; i < 4; ++i) scales[i].store_bytes(out + kFormat.panel_scales() + i * kVector);
  }
}

// Groups that a run of the plane's words holds; of the whole block where there is no such plane.
constexpr int groups_of_run(int run, int bits) { return run * (8 / bits) / kGroupQuads; }

template <BlockFormat kFormat>
void pack_codes(const std::uint8_t* block, std::int64_t stride, std::uint8_t* out) {
  constexpr int kLowGroups = groups_of_run(kFormat.low_run, kFormat.low_bits);
  constexpr int kHighWords = kFormat.high_run > 0 ? kFormat.high_run : 4;
  constexpr int kHighGroups =
      kFormat.high_run > 0 ? groups_of_run(kFormat.high_run, kFormat.high_bits) : kFormat.groups();
  static_assert(kHighGroups % kLowGroups == 0 && kFormat.groups() % kHighGroups == 0);
  for (int h = 0; h < kFormat.groups(); h += kHighGroups) {
    Columns high[kHighWords];
    if constexpr (kFormat.high_bits > 0) {
      load_words(block + kFormat.high_at + h / kHighGroups * kHighWords * 4, stride, high);
      if constexpr (kFormat.high_run == 0) high[0] = panel_bits(high[0]);
    }
#pragma GCC unroll 4
    for (int l = 0; l < kHighGroups; l += kLowGroups) {
      Columns low[kFormat.low_run];
      load_words(block + kFormat.low_at + (h + l) / kLowGroups * kFormat.low_run * 4, stride, low);
#pragma GCC unroll 4
      for (int g = 0; g < kLowGroups; ++g) {
        std::uint8_t* to = out + (h + l + g) * kFormat.group_bytes();
#pragma GCC unroll 8
        for (int word = 0; word < kFormat.low_bits; ++word, to += kVector) {
          Columns codes = panel_word<kFormat.low_bits, kFormat.low_run>(low, g * kGroupQuads, word);
          if constexpr (kFormat.flip != 0) codes = codes ^ Columns::all(kFormat.flip * quad_mask(1));
          codes.store(to);
        }
#pragma GCC unroll 2
        for (int word = 0; word < kFormat.high_bits; ++word, to += kVector) {
          if constexpr (kFormat.high_run > 0) {
            panel_word<kFormat.high_bits, kFormat.high_run>(high, (l + g) * kGroupQuads, word).store(to);
          } else {
            high[0].store(to);
          }
        }
      }
    }
  }
}

// Panels are larger than caches: each piece is made in `stage` and then written past them, so that memory
// need not be read before it is written.
template <BlockFormat kFormat>
void pack_blocks(const PanelRows& panel) {
  const std::uint8_t* rows = panel.rows;
  std::int64_t stride = panel.stride;
  std::uint8_t* out = panel.panel;
  std::uint8_t some[kRows * kFormat.bytes] = {};  // the rows that there are
  const std::uint8_t* next = rows + kRows * stride;
  alignas(kVector) std::uint8_t stage[kFormat.panel_bytes()];
  for (std::int64_t b = 0; b < panel.units; ++b, rows += kFormat.bytes, out += kFormat.panel_bytes()) {
    const std::uint8_t* block = rows;
    if (panel.columns < kRows) {
      for (std::int64_t c = 0; c < panel.columns; ++c) {
        __builtin_memcpy(some + c * kFormat.bytes, rows + c * panel.stride, kFormat.bytes);
      }
      block = some;
      stride = kFormat.bytes;
    }
    pack_scales<kFormat>(block, stride, stage);
    pack_codes<kFormat>(block, stride, stage + kFormat.panel_codes());
    prefetch<kRows * kFormat.bytes>(next + b * kRows * kFormat.bytes);
    Columns::stream(stage, kFormat.panel_bytes(), out);
  }
  Columns::end_of_streams();
}

// ---- f16 and bf16 ----

// store(words, to) writes the 64 bytes that two numbers of each row become. The panel has `numbers` of each:
// one zero more than the rows, perhaps.
template <typename Store>
[[gnu::always_inline]] inline void pack_numbers(const PanelRows& panel, std::int64_t numbers,
                                                const Store& store) {
  constexpr std::int64_t kStrip = 64;  // a cache line of each row at a time: rows may share sets of the cache
  constexpr std::int64_t kNumber = 2;
  const std::int64_t bytes = panel.units * kNumber;
  alignas(kVector) std::uint8_t strip[kRows * kStrip] = {}, stage[kRows * kStrip];
  for (std::int64_t at = 0; at < bytes; at += kStrip) {
    const std::int64_t left = bytes - at;
    for (std::int64_t c = 0; c < panel.columns; ++c) {
      const std::uint8_t* from = panel.rows + c * panel.stride + at;
      if (left >= kStrip) {
        __builtin_memcpy(strip + c * kStrip, from, kStrip);
      } else {
        __builtin_memset(strip + c * kStrip, 0, kStrip);
        for (std::int64_t i = 0; i < left; ++i) strip[c * kStrip + i] = from[i];
      }
    }
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < kStrip; i += 16) {
      Columns words[4];
      Columns::load(strip + i, kStrip, words);
      for (int w = 0; w < 4; ++w) store(words[w], stage + (i / 4 + w) * kVector);
    }
    prefetch<kRows * kStrip>(panel.rows + kRows * (panel.stride + at));
    const std::int64_t there = numbers - at / kNumber;
    Columns::stream(stage, (there < kStrip / kNumber ? there : kStrip / kNumber) * kRows * kNumber,
                    panel.panel + at * kRows);
  }
  Columns::end_of_streams();
}

inline void pack_f16(const PanelRows& panel) {
  pack_numbers(panel, panel.units, [](Columns words, std::uint8_t* to) { words.store_halves(to); });
}

inline void pack_bf16(const PanelRows& panel) {
  pack_numbers(panel, panel.units + panel.units % 2,
               [](Columns words, std::uint8_t* to) { words.store(to); });
}

}  // namespace
