// safetensors: one file, or shards with an index.
//
//   byte 0   u64 little endian: N, the length of the header (1 … 100,000,000)
//   byte 8   N bytes of JSON, padded with spaces: {"NAME": {"dtype": "BF16", "shape": [2, 3],
//            "data_offsets": [BEGIN, END]}, …, "__metadata__": {"KEY": "TEXT", …}}
//   8 + N    tensor data; offsets count from here; tensors follow each other without hole or overlap up to
//            the last byte of the file
//
// The rules are those of the reference reader (safetensors/src/tensor.rs; reliability.md §1.2) and stricter:
// a name may occur once, at most kMaxTensors tensors, names of at most kMaxTensorName bytes, kMaxRank dims.
#pragma once

#include <memory>
#include <string>

#include "models/files/checkpoint.h"

namespace tessera {

inline constexpr std::size_t kMaxSafetensorsHeader = 100'000'000;
inline constexpr std::size_t kMaxTensorName = 1024;

// Both throw Error{kModel}, or Error{kUnsupported} for an unknown dtype.
std::unique_ptr<Checkpoint> open_safetensors_file(const std::string& path);

// model.safetensors.index.json, if there is one, decides which files belong to the model; every tensor that
// it names must lie in the shard that it says. Without an index the folder must hold model.safetensors.
// Other .safetensors files in the folder are left out with a warning.
std::unique_ptr<Checkpoint> open_safetensors_folder(const std::string& folder);

}  // namespace tessera
