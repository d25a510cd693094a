// Byte-level BPE as the Qwen family uses it: text → token ids → text, equal to Hugging Face's tokenizers.
//
//   text ─▶ U+FFFD for ill-formed bytes ─▶ added tokens cut out ─▶ NFC ─▶ Qwen's pre-tokenizer ─▶ BPE ─▶ ids
//
// (spec/qwen3-vl.md §8.2). Nothing is added at the ends, and no other pattern, normalizer or model type is
// approximated: a folder that asks for one is Error{kUnsupported}.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/api.h"

namespace tessera {

// Whether the texts of added tokens ("<|im_end|>", "<think>") in a text stand for those tokens.
enum class SpecialTokens {
  kParse,   // yes: for text that the program itself laid out
  kAsText,  // no: they are characters like any other. For everything that a user typed
};

// Whether decoding leaves out tokens that are marked special. Other added tokens ("<think>") always stay.
enum class SkipSpecial { kNo, kYes };

// Limits on what a file may hold; ids lie below kMaxTokens. Qwen3-VL has 151,669 tokens and 151,387 merges.
inline constexpr std::size_t kMaxTokens = std::size_t{1} << 20;
inline constexpr std::size_t kMaxMerges = std::size_t{1} << 20;
inline constexpr std::size_t kMaxAddedTokens = 65536;
// The longest text that encode accepts, 16 MiB (reliability.md §3.0).
inline constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;

// A token matched as a whole in the raw text, before anything else.
struct AddedToken {
  std::int32_t id;
  std::string text;
  bool special;  // left out by SkipSpecial::kYes; changes nothing else
};

// A vocabulary as files store it.
struct TokenizerParts {
  // Index: id. In the byte alphabet ("Ġworld"); empty where the id has no token of its own, ignored where it
  // is that of an added token.
  std::vector<std::string> tokens;
  // By falling priority: "left right", both in the byte alphabet.
  std::vector<std::string> merges;
  std::vector<AddedToken> added;
  // Where the parts come from, for messages.
  std::string source;
};

// What Tokenizer::from_folder makes a tokenizer of; Error as there.
TESSERA_API TokenizerParts tokenizer_parts_from_folder(const std::string& directory);

// Immutable; copies share one vocabulary, and every const function may run on several threads at once.
class TESSERA_API Tokenizer {
 public:
  // Reads tokenizer.json, or where there is none vocab.json, merges.txt and the added_tokens_decoder of
  // tokenizer_config.json (tokenizer.json wins where both exist). Error{kModel} for files that are missing or
  // malformed, kUnsupported for a valid tokenizer of another kind.
  static Tokenizer from_folder(const std::string& directory);

  // Error{kModel}, file = parts.source: a duplicate token, a character outside the byte alphabet, a byte
  // without a token, a merge that is malformed, a duplicate or names an unknown token, an empty or duplicate
  // added token, an id or a count over its limit.
  explicit Tokenizer(const TokenizerParts& parts);

  // Ill-formed UTF-8 becomes U+FFFD, one for each maximal subpart (find_invalid_utf8 tells where). Of added
  // tokens that begin at one place the longest matches. Linear up to a logarithm, whatever the text.
  // Error{kInput} for more than kMaxTextBytes.
  std::vector<std::int32_t> encode(std::string_view text, SpecialTokens special) const;

  // The tokens' bytes together, ill-formed UTF-8 as U+FFFD. Ids without a token give nothing.
  std::string decode(std::span<const std::int32_t> ids, SkipSpecial skip) const;

  // Bytes of one token, which need not be whole characters; the text of an added token. Empty for an id
  // without a token. Valid as long as a copy of this tokenizer exists.
  std::string_view token_text(std::int32_t id) const;

  // The id of an added token by its text.
  std::optional<std::int32_t> id_of(std::string_view added_text) const;
  // As id_of; Error{kModel} naming every one of the texts that is missing. In their order.
  std::vector<std::int32_t> require(std::span<const std::string_view> added_texts) const;

  // Whether id is an added token marked special.
  bool is_special(std::int32_t id) const;
  // One more than the largest id.
  std::int32_t vocab_size() const;
  // Error{kModel} naming the largest token unless every id is a row of an embedding of `rows` rows.
  void check_fits(std::int64_t rows) const;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

// The control tokens without which Qwen3-VL cannot be prompted (reliability.md, row T8).
inline constexpr std::string_view kControlTokens[] = {"<|im_start|>",   "<|im_end|>",    "<|vision_start|>",
                                                      "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"};

// Text from tokens that come one by one. What it returns, put together, is what decode returns for all of
// them.
class TESSERA_API Detokenizer {
 public:
  Detokenizer(Tokenizer tokenizer, SkipSpecial skip) : tokenizer_(std::move(tokenizer)), skip_(skip) {}

  // The text that this token completes: whole characters. The first bytes of a character are held back.
  std::string push(std::int32_t id);
  // The end: U+FFFD if bytes are held back, else nothing. Ready for the next text.
  std::string flush();

 private:
  Tokenizer tokenizer_;
  SkipSpecial skip_;
  std::string pending_;
};

// Byte offset of the first ill-formed UTF-8 in a text, for a warning to its author.
TESSERA_API std::optional<std::size_t> find_invalid_utf8(std::string_view text);

}  // namespace tessera
