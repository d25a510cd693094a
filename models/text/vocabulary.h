// What a Tokenizer knows, checked and in the form in which it is used. Private to models/text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/text/bpe.h"
#include "models/text/tokenizer.h"

namespace tessera {

struct Tokenizer::Data {
  // Throws as Tokenizer(parts) says.
  explicit Data(const TokenizerParts& parts);

  std::string_view bytes_of(std::int32_t id) const {
    const auto i = static_cast<std::size_t>(id);
    if (id < 0 || i + 1 >= offsets.size()) return {};
    return std::string_view(bytes).substr(offsets[i], offsets[i + 1] - offsets[i]);
  }

  // Index in `added` of the longest added token at text[at], or -1.
  std::ptrdiff_t added_at(std::string_view text, std::size_t at) const;

  std::string source;
  std::string bytes;                   // every token's bytes, in order of id
  std::vector<std::uint32_t> offsets;  // [vocab_size + 1] into bytes
  MergeTable merges;
  std::array<std::int32_t, 256> byte_ids;
  std::vector<AddedToken> added;  // by first byte, then longest first
  // added[starts[b]] … added[starts[b + 1] - 1] begin with byte b.
  std::array<std::uint32_t, 257> starts;

 private:
  void add_added(const TokenizerParts& parts);
  void add_tokens(const TokenizerParts& parts);
  void add_merges(const TokenizerParts& parts);
  // Throws Error{kModel, source, field[index], reason}.
  [[noreturn]] void fail(std::string_view field, std::size_t index, const std::string& reason) const;
};

// Parts from files, each checked for what this library does not do; Error as Tokenizer::from_folder.
TokenizerParts read_tokenizer_json(const std::string& path);
TokenizerParts read_vocab_and_merges(const std::string& directory);

}  // namespace tessera
