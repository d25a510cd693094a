// GGUF: one file, or the parts of a split one, with metadata and tensors.
//
//   "GGUF"  u32 version  u64 tensors  u64 keys
//   keys ×    { string key; u32 type; value }                      gguf_metadata.h
//   tensors × { string name; u32 rank; u64 dims[rank]; u32 type; u64 offset }
//   zeros up to a multiple of the alignment (general.alignment, u32, or else 32), counted from the file's
//   front tensor data: each tensor at that place + offset, in order, each padded with zeros to the alignment
//
// A string is a u64 length and that many bytes. dims[0] varies fastest: it is the last extent of our shapes.
// Source: ggml docs/gguf.md; the rules are those of ggml's own reader (reliability.md §1.3, §3.2), and
// stricter: no extent is 0, no array holds arrays. The padding behind the last tensor may be missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "models/files/checkpoint.h"
#include "models/files/gguf_metadata.h"
#include "tensor/api.h"

namespace tessera {

inline constexpr std::size_t kMaxGgufName = 63;  // bytes of a tensor's name; ggml keeps 64 with a NUL
inline constexpr int kMaxGgufRank = 4;
inline constexpr std::uint32_t kMaxGgufAlignment = 65536;

struct GgufFile {
  GgufMetadata metadata;
  // Names and dtypes ("Q4_0") as in the file, shapes outermost first.
  std::unique_ptr<Checkpoint> checkpoint;
};

// Versions 2 and 3. `path` may be any part of a split file, PREFIX-00002-of-00003.gguf: all parts are read,
// the metadata are the first part's without its split.* keys.
// Throws Error{kModel} for missing, cut or malformed files and Error{kUnsupported} for other versions,
// unknown tensor types and arrays of arrays. Rejecting costs time and memory in proportion to the headers.
TESSERA_API GgufFile read_gguf(const std::string& path);

// general.alignment, 32 where it is missing. Throws Error{kModel} when it is no u32 or no power of two from 1
// to kMaxGgufAlignment.
std::uint32_t gguf_alignment(const GgufMetadata& metadata);

}  // namespace tessera
