// The configuration of a GGUF pair: what config.json and preprocessor_config.json say of a folder, from the
// keys of spec/qwen3-vl.md §9.2 and §9.3. Private to models/qwen3vl.
#pragma once

#include "models/files/gguf.h"
#include "models/qwen3vl/config.h"
#include "models/text/tokenizer.h"

namespace tessera::qwen3vl {

inline constexpr char kTextArchitecture[] = "qwen3vl", kVisionArchitecture[] = "clip";

// Throw Error{kUnsupported} with got and expected for another architecture or projector.
void check_text_architecture(const GgufMetadata& text);
void check_vision_architecture(const GgufMetadata& vision);

// Ranges and relations are those of config_from_folder. Missing keys take the values of all published models:
// context_length 262144, rope.freq_base 5e6, rope.dimension_sections 24, 20, 20 (for heads of 128), epsilons
// 1e-6. vocab_size is the number of rows of token_embd.weight; weights are tied where there is no
// output.weight; the position table covers image_size; DeepStack follows the blocks that have a
// v.deepstack.L.fc1.weight, and is_deepstack_layers and n_deepstack_layers must say so too; the ids of
// control tokens are looked up in `tokenizer`.
// Throws Error{kModel} naming file and key for a missing, malformed or out-of-range value and, with both
// files and both widths, when the two files are not of one model; Error{kUnsupported} for what the model
// lacks (experts, YaRN, other epsilons, patches of other than two frames).
Config config_from_gguf(const GgufFile& text, const GgufFile& vision, const TokenizerParts& tokenizer);

// clip.vision.image_{mean, std}, and image_{min, max}_pixels with the published 65536 and 16777216 where they
// are missing. Errors as above.
PreprocessConfig preprocess_config_from_gguf(const GgufMetadata& vision, const VisionConfig& config);

}  // namespace tessera::qwen3vl
