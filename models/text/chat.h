// The two chat layouts of Qwen3-VL, Instruct and Thinking (spec/qwen3-vl.md §8.4, §8.5), as a string and as
// token ids. Templates that a model folder carries are recognised, never executed.
//
//   Instruct                                     Thinking: the same, but for
//   <|im_start|>system\nTEXT<|im_end|>\n           a system message anywhere is kept
//   <|im_start|>user\nTEXT<|im_end|>\n             answers to the last question keep their reasoning,
//   <|im_start|>assistant\nTEXT<|im_end|>\n        earlier ones lose it
//   <|im_start|>assistant\n                        <|im_start|>assistant\n<think>\n
//
// A picture is <|vision_start|><|image_pad|><|vision_end|> in its place, with nothing around it. Not laid out
// here: tools, tool calls, and picture numbers ("Picture 1: ").
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/text/tokenizer.h"
#include "tensor/api.h"

namespace tessera {

enum class Role { kSystem, kUser, kAssistant };
// "system", "user", "assistant"; Error{kInput} for anything else.
TESSERA_API Role role_from_name(std::string_view name);

enum class PartKind { kText, kImage, kVideo };
struct Part {
  PartKind kind = PartKind::kText;
  // kText: the text.
  std::string text;
  // kVideo: the time in seconds of each temporal group of frames. encode_chat writes
  // "<0.3 seconds><|vision_start|><|video_pad|><|vision_end|>" for each, one decimal, as §4.5 says; with none
  // it writes the bare <|vision_start|><|video_pad|><|vision_end|> of the template.
  std::vector<double> seconds;
};
struct Message {
  Role role = Role::kUser;
  std::vector<Part> content;
};

enum class ChatLayout { kInstruct, kThinking };

// The conversation followed by the generation prompt, as the reference's template writes it: videos are not
// yet expanded to groups. Instruct drops system messages that are not first; system messages, and answers in
// the Thinking layout, keep only their text. Any order of roles is laid out as it comes. Error{kInput} for no
// message.
TESSERA_API std::string render_chat(std::span<const Message> messages, ChatLayout layout);

// The same as token ids, with one <|image_pad|> for each picture and one <|video_pad|> for each group of
// frames, still to be expanded. Message texts never become added tokens, whatever they hold; otherwise the
// ids are the reference's for render_chat's string. Error{kModel} naming the control tokens that the
// tokenizer lacks.
TESSERA_API std::vector<std::int32_t> encode_chat(const Tokenizer& tokenizer,
                                                  std::span<const Message> messages, ChatLayout layout);

// Only what follows an answer that ended in <|im_end|>: "\n", the new messages, the generation prompt. For a
// chat that goes on with its KV cache. With Instruct, ids so far + this = encode_chat of all the messages;
// with Thinking the cache keeps the reasoning that encode_chat would drop. An answer that was cut off must be
// closed with <|im_end|> first.
TESSERA_API std::vector<std::int32_t> encode_next_turn(const Tokenizer& tokenizer,
                                                       std::span<const Message> messages, ChatLayout layout);

// Replaces the i-th pad_id, left to right, by counts[i] copies: t·h·w/4 for picture i (§8.6), h·w/4 for each
// group of frames. Error{kInput}: as many pads as counts are not there, a count below 1, over 2^31-1 ids.
TESSERA_API std::vector<std::int32_t> expand_pads(std::span<const std::int32_t> ids, std::int32_t pad_id,
                                                  std::span<const std::int64_t> counts);

// Which layout a template asks for.
struct ChatTemplate {
  ChatLayout layout = ChatLayout::kInstruct;
  // Empty, or why the layout is a guess, with the XXH3-64 hash of the template in hexadecimal.
  std::string warning;
};
// By facts of its text: control tokens, the picture placeholder and the generation prompt. A template without
// them, one that switches thinking on and off and one with a system prompt of its own are unknown: the
// likelier layout and a warning.
TESSERA_API ChatTemplate recognise_chat_template(std::string_view text);

// The template of a model folder: chat_template.jinja, else chat_template of tokenizer_config.json, else
// chat_template.json. Nothing where there is none. Error{kModel} for files that cannot be read.
TESSERA_API std::optional<std::string> read_chat_template(const std::string& directory);

}  // namespace tessera
