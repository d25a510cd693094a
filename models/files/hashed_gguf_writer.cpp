#include "models/files/hashed_gguf_writer.h"

#include <string_view>
#include <utility>

#include "models/files/gguf_types.h"
#include "tensor/error.h"

namespace tessera {

HashedGgufWriter::HashedGgufWriter(std::string path, const GgufWriter::Options& options)
    : writer_(path, options), path_(std::move(path)) {}

void HashedGgufWriter::begin(GgufMetadata metadata, std::span<const GgufTensor> tensors) {
  ListingHash listing;
  for (const GgufTensor& tensor : tensors) {
    const GgmlType* const type = find_ggml_type(tensor.dtype);
    listing.add(tensor.name, tensor.shape, type ? type->name : std::string_view());
    sizes_.push_back(static_cast<std::size_t>(dense_bytes(tensor.dtype, tensor.shape)));
  }
  const std::vector<std::uint64_t> not_yet(tensors.size());
  metadata.set(std::string(kTensorHashesKey), GgufValue::of_u64s(not_yet));
  metadata.set(std::string(kListingHashKey), GgufValue::of_u64(listing.value()));
  writer_.begin(metadata, tensors);
}

void HashedGgufWriter::append(std::span<const std::byte> bytes) {
  writer_.append(bytes);
  hash_.add(bytes);
  written_ += bytes.size();
  if (written_ < sizes_[hashes_.size()]) return;
  hashes_.push_back(hash_.take());
  written_ = 0;
}

bool HashedGgufWriter::verify(const VerifyRun& run) {
  TESSERA_CHECK(hashes_.size() == sizes_.size());
  writer_.update(kTensorHashesKey, GgufValue::of_u64s(hashes_));
  writer_.flush();
  const auto fail = [&](const std::string& field, const std::string& reason) {
    throw Error(ErrorCode::kOutput, path_, field, "read again after writing: " + reason);
  };
  GgufHashes found = GgufHashes::kNone;
  try {
    found = verify_gguf_hashes(read_gguf(writer_.partial_path()), run);
  } catch (const Error& error) {
    fail(error.field(), error.reason());
  }
  if (found == GgufHashes::kNone || found == GgufHashes::kForeign) fail("", "the header changed");
  return found == GgufHashes::kRight;
}

}  // namespace tessera
