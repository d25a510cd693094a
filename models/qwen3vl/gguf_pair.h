// The two GGUF files of a model: the text file and the vision ("mmproj") file. Private to models/qwen3vl.
#pragma once

#include <memory>
#include <string>

#include "models/files/gguf.h"
#include "models/qwen3vl/config.h"

namespace tessera::qwen3vl {

struct GgufPair {
  GgufFile text, vision;
};

// Whether a path is to be read as GGUF: a file, or a folder without config.json that holds *.gguf.
bool is_gguf(const std::string& path);

// `path`: the text file, any part of it where it is split, or the folder of a pair. `mmproj`: the vision
// file; where it is empty the only one in the same folder is taken: a *.gguf whose name begins with "mmproj"
// or whose architecture is clip.
// Throws Error{kUsage} listing the files where there is a choice; Error{kModel} where one of the two is not
// there or is the other; Error{kUnsupported} for another architecture.
GgufPair open_gguf_pair(const std::string& path, const std::string& mmproj);

// All tensors under their Hugging Face names. The two slices of the patch convolution are joined in memory
// of its own; the rest are views of the files. Tensors without a Hugging Face name keep theirs.
// Throws Error{kModel} where one slice is missing or does not fit the other, and as hugging_face_name.
std::shared_ptr<const Checkpoint> gguf_checkpoint(GgufPair pair, const Config& config);

}  // namespace tessera::qwen3vl
