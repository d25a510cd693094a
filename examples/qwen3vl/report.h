// What a run leaves behind: the JSON object of --json and the line of timings.
#pragma once

#include <span>
#include <string>

#include "examples/qwen3vl/boxes.h"
#include "examples/qwen3vl/conversation.h"

namespace tessera::programs {

// One JSON object:
//   model             path as given
//   prompt_token_ids  with the placeholders of pictures expanded
//   image_grids       [t, h, w] in patches, of each picture
//   token_ids         generated, with the token that ended the answer
//   text              of them, without special tokens
//   finish_reason     stop, length, context, cancelled
//   top_logprobs      for each generated token the best as {id, logprob}: natural log, over the whole
//   vocabulary,
//                     before any penalty or temperature; empty without --top-logprobs
//   boxes             of the answer: {image, label, bbox}: index of the picture, label or null, x0, y0, x1,
//   y1 in
//                     pixels of the upright picture
//   timings           seconds: load, preprocess, encode, prefill, decode; prompt_tokens, generated_tokens;
//                     prefill_tokens_per_second, decode_tokens_per_second
// Boxes are of picture `box_image`.
std::string json_report(const std::string& model, const Answer& answer, std::span<const Picture> pictures,
                        const BoxList& boxes, std::size_t box_image);

// "load 0.05 s, encode 0.02 s, prefill 26 tokens in 0.01 s (2600 tokens/s), decode …".
std::string timing_line(const Answer& answer);

}  // namespace tessera::programs
