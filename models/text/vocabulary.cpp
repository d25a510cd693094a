#include "models/text/vocabulary.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "tensor/error.h"

namespace tessera {
namespace {

unsigned char first_byte(const AddedToken& token) { return static_cast<unsigned char>(token.text[0]); }

void check_count(const std::string& source, const char* field, std::size_t count, std::size_t limit) {
  if (count <= limit) return;
  throw Error(ErrorCode::kModel, source, field,
              "too many entries (got " + std::to_string(count) + ", limit " + std::to_string(limit) + ")");
}

}  // namespace

void Tokenizer::Data::fail(std::string_view field, std::size_t index, const std::string& reason) const {
  throw Error(ErrorCode::kModel, source, std::string(field) + "[" + std::to_string(index) + "]", reason);
}

Tokenizer::Data::Data(const TokenizerParts& parts) : source(parts.source), merges(0) {
  check_count(source, "tokens", parts.tokens.size(), kMaxTokens);
  check_count(source, "merges", parts.merges.size(), kMaxMerges);
  check_count(source, "added_tokens", parts.added.size(), kMaxAddedTokens);
  add_added(parts);
  add_tokens(parts);
  add_merges(parts);
}

void Tokenizer::Data::add_added(const TokenizerParts& parts) {
  std::unordered_set<std::int32_t> ids;
  std::unordered_set<std::string_view> texts;
  for (std::size_t i = 0; i < parts.added.size(); ++i) {
    const AddedToken& token = parts.added[i];
    if (token.text.empty()) fail("added_tokens", i, "the text is empty");
    if (token.id < 0 || static_cast<std::size_t>(token.id) >= kMaxTokens) {
      fail(
          "added_tokens", i,
          "id out of range (got " + std::to_string(token.id) + ", limit " + std::to_string(kMaxTokens) + ")");
    }
    if (!ids.insert(token.id).second) fail("added_tokens", i, "duplicate id " + std::to_string(token.id));
    if (!texts.insert(token.text).second) fail("added_tokens", i, "duplicate text \"" + token.text + "\"");
  }
  added = parts.added;
  std::sort(added.begin(), added.end(), [](const AddedToken& a, const AddedToken& b) {
    if (first_byte(a) != first_byte(b)) return first_byte(a) < first_byte(b);
    return a.text.size() > b.text.size();
  });
  starts.fill(0);
  for (const AddedToken& token : added) ++starts[first_byte(token) + 1u];
  for (std::size_t b = 0; b < 256; ++b) starts[b + 1] += starts[b];
}

void Tokenizer::Data::add_tokens(const TokenizerParts& parts) {
  std::size_t size = parts.tokens.size();
  for (const AddedToken& token : added) size = std::max(size, static_cast<std::size_t>(token.id) + 1);
  std::vector<const AddedToken*> added_by_id(size, nullptr);
  for (const AddedToken& token : added) added_by_id[static_cast<std::size_t>(token.id)] = &token;

  offsets.reserve(size + 1);
  offsets.push_back(0);
  for (std::size_t id = 0; id < size; ++id) {
    const std::string_view spelt = id < parts.tokens.size() ? std::string_view(parts.tokens[id]) : "";
    const AddedToken* own = added_by_id[id];
    const bool valid = append_alphabet_bytes(spelt, bytes);
    if (own != nullptr) {
      const bool same = spelt.empty() || spelt == own->text ||
                        (valid && std::string_view(bytes).substr(offsets.back()) == own->text);
      if (!same) fail("tokens", id, "is the added token \"" + own->text + "\" too");
      bytes.resize(offsets.back());
      bytes += own->text;
    } else if (!valid) {
      fail("tokens", id, "a character outside the byte alphabet (got \"" + std::string(spelt) + "\")");
    }
    if (bytes.size() > UINT32_MAX) fail("tokens", id, "the vocabulary is over 4 GiB");
    offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
}

void Tokenizer::Data::add_merges(const TokenizerParts& parts) {
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(parts.tokens.size());
  for (std::size_t id = 0; id < parts.tokens.size(); ++id) {
    if (parts.tokens[id].empty()) continue;
    const auto [other, inserted] =
        ids.try_emplace(bytes_of(static_cast<std::int32_t>(id)), static_cast<std::int32_t>(id));
    if (!inserted) fail("tokens", id, "the same token as id " + std::to_string(other->second));
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const auto found = ids.find(std::string_view(&c, 1));
    if (found == ids.end()) {
      throw Error(ErrorCode::kModel, source, "tokens", "no token for byte " + std::to_string(byte));
    }
    byte_ids[byte] = found->second;
  }

  merges = MergeTable(parts.merges.size());
  std::string both;
  for (std::size_t i = 0; i < parts.merges.size(); ++i) {
    const std::string_view merge = parts.merges[i];
    const std::size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
      fail("merges", i, "must be two tokens with a space between (got \"" + std::string(merge) + "\")");
    }
    both.clear();
    bool valid = append_alphabet_bytes(merge.substr(0, space), both);
    const std::size_t left_size = both.size();
    valid = valid && append_alphabet_bytes(merge.substr(space + 1), both);
    const std::string_view merged = both;
    const auto left = ids.find(merged.substr(0, left_size));
    const auto right = ids.find(merged.substr(left_size));
    const auto whole = ids.find(merged);
    if (!valid || left == ids.end() || right == ids.end() || whole == ids.end()) {
      fail("merges", i, "names an unknown token (got \"" + std::string(merge) + "\")");
    }
    if (!merges.add(left->second, right->second, whole->second)) {
      fail("merges", i, "duplicate merge \"" + std::string(merge) + "\"");
    }
  }
}

std::ptrdiff_t Tokenizer::Data::added_at(std::string_view text, std::size_t at) const {
  const auto byte = static_cast<unsigned char>(text[at]);
  for (std::uint32_t i = starts[byte]; i < starts[byte + 1u]; ++i) {
    if (text.substr(at).starts_with(added[i].text)) return i;
  }
  return -1;
}

}  // namespace tessera
