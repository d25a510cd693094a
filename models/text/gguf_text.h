// What a GGUF file says about text: its vocabulary and how to draw from it (spec/qwen3-vl.md §9.2).
#pragma once

#include "models/files/gguf_metadata.h"
#include "models/text/sampler.h"
#include "models/text/tokenizer.h"
#include "tensor/api.h"

namespace tessera {

// tokenizer.ggml.{model, pre, tokens, token_type, merges}. Tokens of type 3 (control) become special added
// tokens, those of type 4 (user-defined) other added tokens; those of type 5 (unused) and the converter's
// "[PADid]" are left out. Throws Error{kModel} naming the key: missing, more entries than the limits of
// tokenizer.h, types (or scores, which BPE has no use for) of another kind or number than the tokens;
// Error{kUnsupported} for another kind of tokenizer.
TESSERA_API TokenizerParts tokenizer_parts_from_gguf(const GgufMetadata& metadata);

// general.sampling.{temp, top_k, top_p, min_p, penalty_repeat} with the ranges and defaults of
// generation_config.json, drawn unless there is no temperature above 0. Answers end at
// tokenizer.ggml.eos_token_ids, a list that ollama and this library write; where there is none at
// eos_token_id and, as in published models, at <|endoftext|> if that is a control token.
// Throws Error{kModel} naming the key.
TESSERA_API GenerationDefaults generation_defaults_from_gguf(const GgufMetadata& metadata,
                                                             const TokenizerParts& tokenizer);

}  // namespace tessera
