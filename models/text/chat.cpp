#include "models/text/chat.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "tensor/error.h"

namespace tessera {
namespace {

constexpr std::string_view kTurnStart = "<|im_start|>", kTurnEnd = "<|im_end|>",
                           kVisionStart = "<|vision_start|>", kVisionEnd = "<|vision_end|>",
                           kImagePad = "<|image_pad|>", kVideoPad = "<|video_pad|>", kThink = "<think>",
                           kThinkEnd = "</think>";

// A chat before it is a string or ids: runs of text, and added tokens between them. Neighbouring texts are
// one run, because the tokenizer merges across them.
struct Segment {
  std::string text;
  bool is_token;
};

enum class Videos { kAsTemplate, kGroups };
enum class Place { kStart, kContinuation };

std::string_view trim_newlines_left(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view trim_newlines(std::string_view text) {
  text = trim_newlines_left(text);
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

std::string timestamp(double seconds) {
  std::array<char, 400> digits;  // the longest double in fixed notation has 309 digits before the point
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), seconds, std::chars_format::fixed, 1).ptr;
  std::string out = "<";
  out.append(digits.data(), end);
  return out + " seconds>";
}

struct Reasoning {
  std::string_view reasoning, answer;
};

// Takes an answer of a thinking model apart. The template's calls: the reasoning stands before the first
// </think> and after the last <think> before that; the answer after the last </think>.
Reasoning split_reasoning(std::string_view text) {
  const std::size_t first_end = text.find(kThinkEnd);
  if (first_end == std::string_view::npos) return {{}, text};
  std::string_view before = text.substr(0, first_end);
  const std::size_t begin = before.rfind(kThink);
  if (begin != std::string_view::npos) before.remove_prefix(begin + kThink.size());
  const std::string_view after = text.substr(text.rfind(kThinkEnd) + kThinkEnd.size());
  return {trim_newlines(before), trim_newlines_left(after)};
}

std::string joined_text(const Message& message) {
  std::string text;
  for (const Part& part : message.content) {
    if (part.kind == PartKind::kText) text += part.text;
  }
  return text;
}

class Layout {
 public:
  Layout(ChatLayout layout, Videos videos) : layout_(layout), videos_(videos) {}

  void text(std::string_view text) {
    if (text.empty()) return;
    if (segments_.empty() || segments_.back().is_token) segments_.push_back({"", false});
    segments_.back().text += text;
  }

  void conversation(std::span<const Message> messages, Place place) {
    if (messages.empty()) {
      throw Error(ErrorCode::kInput, "", "messages", "a chat needs one message or more");
    }
    const std::ptrdiff_t last_query = find_last_query(messages);
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const Message& m = messages[i];
      const bool is_first = i == 0 && place == Place::kStart;
      if (m.role == Role::kSystem && !is_first && layout_ == ChatLayout::kInstruct) continue;
      if (m.role == Role::kAssistant && layout_ == ChatLayout::kThinking) {
        const bool is_last = i + 1 == messages.size();
        thinking_answer(m, static_cast<std::ptrdiff_t>(i) > last_query, is_last);
      } else {
        block(m);
      }
    }
    token(kTurnStart);
    text("assistant\n");
    if (layout_ == ChatLayout::kThinking) {
      token(kThink);
      text("\n");
    }
  }

  const std::vector<Segment>& segments() const { return segments_; }

 private:
  void token(std::string_view text) { segments_.push_back({std::string(text), true}); }

  void vision(std::string_view pad) {
    token(kVisionStart);
    token(pad);
    token(kVisionEnd);
  }

  void part(const Part& part) {
    if (part.kind == PartKind::kText) return text(part.text);
    if (part.kind == PartKind::kImage) return vision(kImagePad);
    if (videos_ == Videos::kAsTemplate || part.seconds.empty()) return vision(kVideoPad);
    for (const double seconds : part.seconds) {
      text(timestamp(seconds));
      vision(kVideoPad);
    }
  }

  void block(const Message& message) {
    constexpr std::string_view names[] = {"system\n", "user\n", "assistant\n"};
    token(kTurnStart);
    text(names[static_cast<std::size_t>(message.role)]);
    for (const Part& p : message.content) {
      if (message.role != Role::kSystem || p.kind == PartKind::kText) part(p);
    }
    token(kTurnEnd);
    text("\n");
  }

  void thinking_answer(const Message& message, bool after_query, bool is_last) {
    const std::string whole = joined_text(message);
    const Reasoning split = split_reasoning(whole);
    token(kTurnStart);
    text("assistant\n");
    if (after_query && (is_last || !split.reasoning.empty())) {
      token(kThink);
      text("\n");
      text(split.reasoning);
      text("\n");
      token(kThinkEnd);
      text("\n\n");
      text(trim_newlines_left(split.answer));
    } else {
      text(split.answer);
    }
    token(kTurnEnd);
    text("\n");
  }

  // Index of the last user message that is no wrapped tool response; the last message when there is none.
  static std::ptrdiff_t find_last_query(std::span<const Message> messages) {
    for (std::size_t i = messages.size(); i-- > 0;) {
      if (messages[i].role != Role::kUser) continue;
      const std::string text = joined_text(messages[i]);
      const bool wrapped = text.starts_with("<tool_response>") && text.ends_with("</tool_response>");
      if (!wrapped) return static_cast<std::ptrdiff_t>(i);
    }
    return static_cast<std::ptrdiff_t>(messages.size()) - 1;
  }

  ChatLayout layout_;
  Videos videos_;
  std::vector<Segment> segments_;
};

std::vector<std::int32_t> encode_segments(const Tokenizer& tokenizer, const std::vector<Segment>& segments) {
  std::vector<std::string_view> tokens;
  for (const Segment& segment : segments) {
    if (segment.is_token) tokens.push_back(segment.text);
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  tokenizer.require(tokens);

  std::vector<std::int32_t> ids;
  for (const Segment& segment : segments) {
    if (segment.is_token) {
      ids.push_back(*tokenizer.id_of(segment.text));
    } else {
      const auto more = tokenizer.encode(segment.text, SpecialTokens::kAsText);
      ids.insert(ids.end(), more.begin(), more.end());
    }
  }
  return ids;
}

}  // namespace

Role role_from_name(std::string_view name) {
  if (name == "system") return Role::kSystem;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  throw Error(ErrorCode::kInput, "", "role",
              "unknown role (got \"" + std::string(name) + "\", expected system, user or assistant)");
}

std::string render_chat(std::span<const Message> messages, ChatLayout layout) {
  Layout chat(layout, Videos::kAsTemplate);
  chat.conversation(messages, Place::kStart);
  std::string out;
  for (const Segment& segment : chat.segments()) out += segment.text;
  return out;
}

std::vector<std::int32_t> encode_chat(const Tokenizer& tokenizer, std::span<const Message> messages,
                                      ChatLayout layout) {
  Layout chat(layout, Videos::kGroups);
  chat.conversation(messages, Place::kStart);
  return encode_segments(tokenizer, chat.segments());
}

std::vector<std::int32_t> encode_next_turn(const Tokenizer& tokenizer, std::span<const Message> messages,
                                           ChatLayout layout) {
  Layout chat(layout, Videos::kGroups);
  chat.text("\n");
  chat.conversation(messages, Place::kContinuation);
  return encode_segments(tokenizer, chat.segments());
}

std::vector<std::int32_t> expand_pads(std::span<const std::int32_t> ids, std::int32_t pad_id,
                                      std::span<const std::int64_t> counts) {
  const auto pads = static_cast<std::size_t>(std::count(ids.begin(), ids.end(), pad_id));
  if (pads != counts.size()) {
    throw Error(ErrorCode::kInput, "", "prompt",
                "placeholders do not match what was given for them (got " + std::to_string(pads) +
                    " placeholders of token " + std::to_string(pad_id) + ", expected " +
                    std::to_string(counts.size()) + ")");
  }
  std::uint64_t total = ids.size() - pads;
  for (const std::int64_t count : counts) {
    const bool fits = count >= 1 && checked_add(total, static_cast<std::uint64_t>(count), &total);
    if (!fits || total > INT32_MAX) {
      throw Error(ErrorCode::kInput, "", "prompt",
                  "token count of a placeholder out of range (got " + std::to_string(count) + ")");
    }
  }
  std::vector<std::int32_t> out;
  out.reserve(total);
  std::size_t next = 0;
  for (const std::int32_t id : ids) {
    out.insert(out.end(), id == pad_id ? static_cast<std::size_t>(counts[next++]) : 1, id);
  }
  return out;
}

}  // namespace tessera
