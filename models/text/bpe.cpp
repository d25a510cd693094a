#include "models/text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "models/text/unicode.h"

namespace tessera {
namespace {

bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Byte of each code point below U+0144, -1 where there is none.
constexpr std::size_t kAlphabetEnd = 0x144;
std::array<std::int16_t, kAlphabetEnd> make_alphabet() {
  std::array<std::int16_t, kAlphabetEnd> bytes;
  bytes.fill(-1);
  std::size_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    bytes[stands_for_itself(byte) ? byte : next++] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// The finalizer of MurmurHash3 (public domain).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
  return x ^ (x >> 33);
}

}  // namespace

bool append_alphabet_bytes(std::string_view spelt, std::string& out) {
  static const auto alphabet = make_alphabet();
  for (std::size_t at = 0; at < spelt.size();) {
    const unicode::Sequence s = unicode::sequence_at(spelt, at);
    if (s.code_point >= kAlphabetEnd || alphabet[s.code_point] < 0) return false;
    out += static_cast<char>(alphabet[s.code_point]);
    at += s.bytes;
  }
  return true;
}

MergeTable::MergeTable(std::size_t merges) : slots_(std::bit_ceil(2 * merges + 2), Slot{0, kNoRank}) {
  merged_.reserve(merges);
}

std::size_t MergeTable::find(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = mix(pair) & mask;
  while (slots_[at].rank != kNoRank && slots_[at].pair != pair) at = (at + 1) & mask;
  return at;
}

bool MergeTable::add(std::int32_t left, std::int32_t right, std::int32_t merged) {
  const std::uint64_t pair = pair_key(left, right);
  Slot& slot = slots_[find(pair)];
  if (slot.rank != kNoRank) return false;
  slot = {pair, static_cast<std::uint32_t>(merged_.size())};
  merged_.push_back(merged);
  return true;
}

std::uint32_t MergeTable::rank(std::int32_t left, std::int32_t right) const {
  return slots_[find(pair_key(left, right))].rank;
}

void Bpe::update_rank(std::uint32_t position) {
  Symbol& symbol = symbols_[position];
  symbol.rank =
      symbol.next == kEnd ? MergeTable::kNoRank : merges_->rank(symbol.id, symbols_[symbol.next].id);
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& out) {
  const auto count = static_cast<std::uint32_t>(piece.size());
  symbols_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::int32_t id = (*byte_ids_)[static_cast<unsigned char>(piece[i])];
    symbols_[i] = {id, i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1, MergeTable::kNoRank};
  }
  const auto entry = [&](std::uint32_t i) { return std::uint64_t{symbols_[i].rank} << 32 | i; };
  heap_.clear();
  for (std::uint32_t i = 0; i < count; ++i) {
    update_rank(i);
    if (symbols_[i].rank != MergeTable::kNoRank) heap_.push_back(entry(i));
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());

  const auto refresh = [&](std::uint32_t position) {
    update_rank(position);
    if (symbols_[position].rank == MergeTable::kNoRank) return;
    heap_.push_back(entry(position));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  };
  while (!heap_.empty()) {
    const std::uint64_t top = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    const auto position = static_cast<std::uint32_t>(top);
    Symbol& symbol = symbols_[position];
    // Another merge has since taken this symbol or its neighbour.
    if (symbol.rank != top >> 32) continue;
    Symbol& taken = symbols_[symbol.next];
    symbol.id = merges_->merged(symbol.rank);
    symbol.next = taken.next;
    taken.rank = MergeTable::kNoRank;
    if (symbol.next != kEnd) symbols_[symbol.next].previous = position;
    refresh(position);
    if (symbol.previous != kEnd) refresh(symbol.previous);
  }
  for (std::uint32_t i = 0; i != kEnd && i < count; i = symbols_[i].next) out.push_back(symbols_[i].id);
}

}  // namespace tessera
