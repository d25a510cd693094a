#include "models/text/tokenizer.h"

#include <algorithm>

#include "models/text/bpe.h"
#include "models/text/pre_tokenizer.h"
#include "models/text/unicode.h"
#include "models/text/vocabulary.h"
#include "tensor/error.h"

namespace tessera {
namespace {

// Valid UTF-8 without added tokens → ids.
void encode_plain(std::string_view text, Bpe& bpe, std::vector<std::int32_t>& out) {
  std::string normalized;
  unicode::append_nfc(text, normalized);
  for (std::size_t begin = 0; begin < normalized.size();) {
    const std::size_t end = piece_end(normalized, begin);
    bpe.encode(std::string_view(normalized).substr(begin, end - begin), out);
    begin = end;
  }
}

}  // namespace

Tokenizer::Tokenizer(const TokenizerParts& parts) : data_(std::make_shared<const Data>(parts)) {}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  if (text.size() > kMaxTextBytes) {
    throw Error(ErrorCode::kInput, "", "text",
                "too long (got " + std::to_string(text.size()) + " bytes, limit " +
                    std::to_string(kMaxTextBytes) + ")");
  }
  const std::string repaired = unicode::replace_invalid(text);
  text = repaired;
  std::vector<std::int32_t> ids;
  Bpe bpe(data_->merges, data_->byte_ids);
  std::size_t plain_begin = 0;
  for (std::size_t at = 0; special == SpecialTokens::kParse && at < text.size();) {
    const std::ptrdiff_t index = data_->added_at(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = data_->added[static_cast<std::size_t>(index)];
    encode_plain(text.substr(plain_begin, at - plain_begin), bpe, ids);
    ids.push_back(token.id);
    at += token.text.size();
    plain_begin = at;
  }
  encode_plain(text.substr(plain_begin), bpe, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, SkipSpecial skip) const {
  std::string bytes;
  for (const std::int32_t id : ids) {
    if (skip == SkipSpecial::kNo || !is_special(id)) bytes += data_->bytes_of(id);
  }
  return unicode::replace_invalid(bytes);
}

std::string_view Tokenizer::token_text(std::int32_t id) const { return data_->bytes_of(id); }

std::optional<std::int32_t> Tokenizer::id_of(std::string_view added_text) const {
  for (const AddedToken& token : data_->added) {
    if (token.text == added_text) return token.id;
  }
  return std::nullopt;
}

std::vector<std::int32_t> Tokenizer::require(std::span<const std::string_view> added_texts) const {
  std::vector<std::int32_t> ids;
  std::string missing;
  for (const std::string_view text : added_texts) {
    const auto id = id_of(text);
    ids.push_back(id.value_or(-1));
    if (id) continue;
    missing += ' ';
    missing += text;
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::kModel, data_->source, "added_tokens", "missing" + missing);
  }
  return ids;
}

bool Tokenizer::is_special(std::int32_t id) const {
  return std::any_of(data_->added.begin(), data_->added.end(),
                     [&](const AddedToken& token) { return token.id == id && token.special; });
}

std::int32_t Tokenizer::vocab_size() const { return static_cast<std::int32_t>(data_->offsets.size()) - 1; }

void Tokenizer::check_fits(std::int64_t rows) const {
  if (vocab_size() <= rows) return;
  const std::int32_t last = vocab_size() - 1;
  throw Error(ErrorCode::kModel, data_->source, "token " + std::to_string(last),
              "\"" + std::string(token_text(last)) + "\" has no row in the embedding (got " +
                  std::to_string(rows) + " rows, expected " + std::to_string(vocab_size()) + " or more)");
}

std::string Detokenizer::push(std::int32_t id) {
  if (skip_ == SkipSpecial::kYes && tokenizer_.is_special(id)) return {};
  pending_ += tokenizer_.token_text(id);
  std::string out;
  std::size_t at = 0;
  while (at < pending_.size()) {
    const unicode::Sequence s = unicode::sequence_at(pending_, at);
    if (s.kind == unicode::SequenceKind::kIncomplete) break;
    out += s.kind == unicode::SequenceKind::kValid ? std::string_view(pending_).substr(at, s.bytes)
                                                   : unicode::kReplacement;
    at += s.bytes;
  }
  pending_.erase(0, at);
  return out;
}

std::string Detokenizer::flush() {
  const std::string out = unicode::replace_invalid(pending_);
  pending_.clear();
  return out;
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  const std::size_t at = unicode::find_invalid(text);
  return at == std::string_view::npos ? std::nullopt : std::optional(at);
}

}  // namespace tessera
