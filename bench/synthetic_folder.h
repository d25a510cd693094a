// A synthetic model as a Hugging Face folder, for programs that read nothing else.
#pragma once

#include <cstdint>
#include <string>

#include "models/qwen3vl/config.h"
#include "tensor/dtype.h"

namespace tessera::bench {

inline constexpr std::uint64_t kShardBytes = 5'000'000'000;  // transformers' save_pretrained: "5GB"

struct FolderOptions {
  DType dtype = DType::kBF16;               // bf16, f16 or f32
  std::uint64_t shard_bytes = kShardBytes;  // of tensors in a file; a larger tensor has a file of its own
};

// Writes config.json, generation_config.json, preprocessor_config.json, tokenizer.json and the tensors of
// synthetic_tensors(config), with the values that synthetic_checkpoint describes: as model.safetensors, or
// where one file does not hold them as model-0000k-of-0000n.safetensors with model.safetensors.index.json.
// config.json comes last: a folder without it is not complete.
//
// The tokenizer knows single bytes (ids 0 … 255) and kControls; the other ids have no text.
//
// Memory: 32 MiB at most. Throws Error{kOutput}: a folder that is not empty or cannot be made, a disk with
// too little room (before anything is written), a write that fails. What had been written is then removed.
void write_synthetic_folder(const std::string& folder, const qwen3vl::Config& config,
                            const FolderOptions& options);

}  // namespace tessera::bench
