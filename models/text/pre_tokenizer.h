// Qwen's pre-tokenizer: cuts text into the pieces inside which BPE merges. Private to models/text.
#pragma once

#include <cstddef>
#include <string_view>

namespace tessera {

// The one pattern that piece_end implements, as tokenizer.json spells it (spec/qwen3-vl.md §8.2).
inline constexpr std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// End of the piece that begins at text[begin]: the first alternative of kQwenPattern that matches there.
// Every position matches one, so the pieces [0, e1), [e1, e2) … cover the text. Linear in the piece, no
// recursion. text is valid UTF-8 and begin < text.size() is the start of a character.
std::size_t piece_end(std::string_view text, std::size_t begin);

}  // namespace tessera
