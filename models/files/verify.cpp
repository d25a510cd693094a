#include "models/files/verify.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/files/gguf_hashes.h"
#include "quant/quantize.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

// fn(piece) for pieces of the bytes, in order; pages are dropped behind it. False when cancelled.
template <typename Fn>
bool for_pieces(const Checkpoint& checkpoint, std::span<const std::byte> bytes, std::size_t piece_bytes,
                const VerifyRun& run, const Fn& fn) {
  while (!bytes.empty()) {
    if (run.cancelled()) return false;
    const auto piece = bytes.first(std::min(bytes.size(), piece_bytes));
    checkpoint.will_need(bytes.first(std::min(bytes.size(), 2 * piece_bytes)));
    fn(piece);
    checkpoint.drop_pages(piece);
    if (run.progress) run.progress(piece.size());
    bytes = bytes.subspan(piece.size());
  }
  return true;
}

std::string hexadecimal(std::uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[value >> shift & 15];
  return out;
}

std::uint64_t listing_hash(const Checkpoint& checkpoint) {
  ListingHash hash;
  for (const Checkpoint::Entry& entry : checkpoint.entries()) hash.add(entry.name, entry.shape, entry.dtype);
  return hash.value();
}

}  // namespace

GgufHashes verify_gguf_hashes(const GgufFile& file, const VerifyRun& run) {
  const GgufValue* const hashes = file.metadata.find(kTensorHashesKey);
  const GgufValue* const listing = file.metadata.find(kListingHashKey);
  if (!hashes || !listing) return GgufHashes::kNone;
  if (hashes->type() != GgufType::kArray || hashes->element_type() != GgufType::kU64)
    file.metadata.fail(kTensorHashesKey, "wrong type (got " + hashes->describe() + ", expected u64 array)");
  if (listing->type() != GgufType::kU64)
    file.metadata.fail(kListingHashKey, "wrong type (got " + listing->describe() + ", expected u64)");
  const auto entries = file.checkpoint->entries();
  if (hashes->count() != entries.size() ||
      load_number<std::uint64_t>(listing->bytes()) != listing_hash(*file.checkpoint))
    return GgufHashes::kForeign;
  std::string_view expected = hashes->bytes().substr(12);  // behind type and count of the array
  StreamHash stream;
  for (const Checkpoint::Entry& entry : entries) {
    const bool whole = for_pieces(*file.checkpoint, entry.bytes, kPieceBytes, run,
                                  [&](std::span<const std::byte> piece) { stream.add(piece); });
    if (!whole) return GgufHashes::kCancelled;
    const std::uint64_t got = stream.take(), written = load_number<std::uint64_t>(expected);
    if (got != written) {
      throw Error(ErrorCode::kModel, entry.file, entry.name,
                  "bytes are not those that were written (got XXH3-64 " + hexadecimal(got) + ", expected " +
                      hexadecimal(written) + ")");
    }
    expected.remove_prefix(sizeof(std::uint64_t));
  }
  return GgufHashes::kRight;
}

bool verify_numbers(const Checkpoint& checkpoint, const VerifyRun& run) {
  require_threads(run.threads);
  for (const Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!entry.view || entry.bytes.empty()) continue;
    const Shape& shape = entry.shape;
    quant::QuantizeJob job{.from = entry.view->dtype, .threads = run.threads, .file = entry.file};
    job.tensor = entry.name;
    job.columns = shape.rank() == 0 ? 1 : shape.back();
    const auto row = static_cast<std::size_t>(quant::row_bytes(job.from, job.columns));
    const std::size_t piece_bytes = std::max<std::size_t>(1, kPieceBytes / row) * row;
    const bool whole =
        for_pieces(checkpoint, entry.bytes, piece_bytes, run, [&](std::span<const std::byte> piece) {
          job.rows = static_cast<std::int64_t>(piece.size() / row);
          quant::check_rows(job, reinterpret_cast<const std::uint8_t*>(piece.data()));
          job.first_row += job.rows;
        });
    if (!whole) return false;
  }
  return true;
}

}  // namespace tessera
