// Byte-level BPE: the GPT-2 byte alphabet, the merge table and the merge loop. Private to models/text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// Bytes of a token spelt in the byte alphabet: bytes 0x21–0x7E, 0xA1–0xAC, 0xAE–0xFF stand for themselves as
// code points, the other 68 in increasing order are U+0100, U+0101 … (spec/qwen3-vl.md §8.2). Nothing when a
// character lies outside it. Appends to out.
bool append_alphabet_bytes(std::string_view spelt, std::string& out);

// Which pairs of tokens merge, in which order, into what. A hash table with open addressing: 16 bytes a slot,
// at most half full.
class MergeTable {
 public:
  static constexpr std::uint32_t kNoRank = UINT32_MAX;

  MergeTable() : MergeTable(0) {}
  explicit MergeTable(std::size_t merges);
  // The next merge in order of rank. False when the pair is already there.
  bool add(std::int32_t left, std::int32_t right, std::int32_t merged);
  // Rank of the pair: smaller merges first. kNoRank when it does not merge.
  std::uint32_t rank(std::int32_t left, std::int32_t right) const;
  std::int32_t merged(std::uint32_t rank) const { return merged_[rank]; }
  std::size_t size() const { return merged_.size(); }

 private:
  struct Slot {
    std::uint64_t pair;
    std::uint32_t rank;  // kNoRank: free
  };
  std::size_t find(std::uint64_t pair) const;

  std::vector<Slot> slots_;
  std::vector<std::int32_t> merged_;
};

// Merges one piece after another. Keeps its working memory, so one object serves one thread.
class Bpe {
 public:
  // byte_ids: the token of each single byte. Both must outlive the object.
  Bpe(const MergeTable& merges, const std::array<std::int32_t, 256>& byte_ids)
      : merges_(&merges), byte_ids_(&byte_ids) {}

  // Of all neighbours that merge, the pair of lowest rank does, the leftmost of equals, until none is left.
  // Appends the tokens to out. O(n log n) in the bytes of the piece, which are fewer than 2^31.
  void encode(std::string_view piece, std::vector<std::int32_t>& out);

 private:
  struct Symbol {
    std::int32_t id;
    std::uint32_t previous, next;  // positions; kEnd
    std::uint32_t rank;            // of the pair (this, next)
  };
  static constexpr std::uint32_t kEnd = UINT32_MAX;
  void update_rank(std::uint32_t position);

  const MergeTable* merges_;
  const std::array<std::int32_t, 256>* byte_ids_;
  std::vector<Symbol> symbols_;
  std::vector<std::uint64_t> heap_;  // rank << 32 | position, smallest first; entries go stale, not away
};

}  // namespace tessera
