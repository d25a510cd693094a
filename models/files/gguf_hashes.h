// Hashes of tensors in GGUF files: what this library writes can be told from what a disk or a transfer made
// of it. Private to models/files; written by hashed_gguf_writer.h, read by verify.h.
//
//   tessera.xxh3_64           u64 array: XXH3-64 of each tensor's bytes without padding, in the file's order
//   tessera.listing.xxh3_64   u64: XXH3-64 of the listing that they belong to
//
// The listing is, for each tensor: u64 length of the name, the name, u32 rank, u64 extents (outermost first),
// u64 length of the type's name, that name ("Q4_0"), little endian. Other tools keep keys that they do not
// know beside tensors that they rewrote; the second key tells such a file from a damaged one.
#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "models/files/gguf_bytes.h"
#include "tensor/shape.h"

namespace tessera {

inline constexpr std::string_view kTensorHashesKey = "tessera.xxh3_64";
inline constexpr std::string_view kListingHashKey = "tessera.listing.xxh3_64";

class ListingHash {
 public:
  void add(std::string_view name, const Shape& shape, std::string_view type) {
    append_string(&listing_, name);
    append_number(&listing_, static_cast<std::uint32_t>(shape.rank()));
    for (const std::int64_t extent : shape.dims())
      append_number(&listing_, static_cast<std::uint64_t>(extent));
    append_string(&listing_, type);
  }
  std::uint64_t value() const { return XXH3_64bits(listing_.data(), listing_.size()); }

 private:
  std::string listing_;
};

// XXH3-64 of bytes that come in pieces.
class StreamHash {
 public:
  StreamHash() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    XXH3_64bits_reset(state_.get());
  }
  void add(std::span<const std::byte> bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }
  // Of all bytes since the last call.
  std::uint64_t take() {
    const std::uint64_t hash = XXH3_64bits_digest(state_.get());
    XXH3_64bits_reset(state_.get());
    return hash;
  }

 private:
  struct Deleter {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Deleter> state_;
};

}  // namespace tessera
