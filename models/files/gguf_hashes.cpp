#include "models/files/gguf_hashes.h"

#include <xxhash.h>

#include <algorithm>
#include <new>
#include <utility>

#include "models/files/gguf_bytes.h"
#include "models/files/gguf_types.h"
#include "quant/quantize.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera {
namespace {

constexpr std::string_view kHashesKey = "tessera.xxh3_64";
constexpr std::string_view kListingKey = "tessera.listing.xxh3_64";
constexpr std::size_t kPieceBytes = std::size_t{8} << 20;

// The file's type by its name, "Q4_0", or -1.
std::uint32_t type_number(std::string_view name) {
  for (std::uint32_t id = 0; id < 64; ++id) {
    const GgmlType* const type = find_ggml_type(id);
    if (type && type->name == name) return id;
  }
  return UINT32_MAX;
}

void append_to_listing(std::string* listing, const std::string& name, const Shape& shape,
                       std::uint32_t type) {
  append_string(listing, name);
  append_number(listing, static_cast<std::uint32_t>(shape.rank()));
  for (const std::int64_t extent : shape.dims()) append_number(listing, static_cast<std::uint64_t>(extent));
  append_number(listing, type);
}

std::uint64_t hash_of(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::uint64_t listing_hash(const Checkpoint& checkpoint) {
  std::string listing;
  for (const Checkpoint::Entry& entry : checkpoint.entries())
    append_to_listing(&listing, entry.name, entry.shape, type_number(entry.dtype));
  return hash_of(listing);
}

struct StateDeleter {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using HashState = std::unique_ptr<XXH3_state_t, StateDeleter>;

HashState new_hash() {
  HashState state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  XXH3_64bits_reset(state.get());
  return state;
}

// fn(piece) for pieces of the bytes, in order; pages are dropped behind it. False when cancelled.
template <typename Fn>
bool for_pieces(const Checkpoint& checkpoint, std::span<const std::byte> bytes, std::size_t piece_bytes,
                const GgufRun& run, const Fn& fn) {
  while (!bytes.empty()) {
    if (run.cancelled()) return false;
    const auto piece = bytes.first(std::min(bytes.size(), piece_bytes));
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

// The hashes of all tensors, compared with `expected`. False when cancelled.
bool compare(const GgufFile& file, std::span<const std::uint64_t> expected, ErrorCode code,
             const GgufRun& run) {
  std::size_t i = 0;
  for (const Checkpoint::Entry& entry : file.checkpoint->entries()) {
    const HashState state = new_hash();
    const bool whole = for_pieces(*file.checkpoint, entry.bytes, kPieceBytes, run, [&](auto piece) {
      XXH3_64bits_update(state.get(), piece.data(), piece.size());
    });
    if (!whole) return false;
    const std::uint64_t hash = XXH3_64bits_digest(state.get());
    if (hash != expected[i]) {
      throw Error(code, entry.file, entry.name,
                  "bytes are not those that were written (got XXH3-64 " + hexadecimal(hash) + ", expected " +
                      hexadecimal(expected[i]) + ")");
    }
    ++i;
  }
  return true;
}

}  // namespace

GgufHashes verify_gguf_hashes(const GgufFile& file, const GgufRun& run) {
  const GgufValue* const hashes = file.metadata.find(kHashesKey);
  const GgufValue* const listing = file.metadata.find(kListingKey);
  if (!hashes || !listing) return GgufHashes::kNone;
  const auto fail = [&](std::string_view key) { file.metadata.fail(key, "has the wrong type"); };
  if (hashes->type() != GgufType::kArray || hashes->element_type() != GgufType::kU64) fail(kHashesKey);
  if (listing->type() != GgufType::kU64) fail(kListingKey);
  std::vector<std::uint64_t> expected;
  constexpr std::size_t kElements = 12;  // behind type and count of the array
  for (std::size_t at = kElements; at < hashes->bytes().size(); at += sizeof(std::uint64_t))
    expected.push_back(load_number<std::uint64_t>(hashes->bytes().substr(at)));
  if (expected.size() != file.checkpoint->entries().size() ||
      load_number<std::uint64_t>(listing->bytes()) != listing_hash(*file.checkpoint))
    return GgufHashes::kForeign;
  return compare(file, expected, ErrorCode::kModel, run) ? GgufHashes::kRight : GgufHashes::kCancelled;
}

bool verify_gguf_numbers(const GgufFile& file, const GgufRun& run) {
  require_threads(run.threads);
  for (const Checkpoint::Entry& entry : file.checkpoint->entries()) {
    if (!entry.view) continue;
    const Shape& shape = entry.shape;
    quant::QuantizeJob job{.from = entry.view->dtype, .threads = run.threads, .file = entry.file};
    job.tensor = entry.name;
    job.columns = shape.rank() == 0 ? 1 : shape.back();
    const auto row = static_cast<std::size_t>(quant::row_bytes(job.from, job.columns));
    const std::size_t piece_bytes = std::max<std::size_t>(1, kPieceBytes / row) * row;
    const bool whole = for_pieces(*file.checkpoint, entry.bytes, piece_bytes, run, [&](auto piece) {
      job.rows = static_cast<std::int64_t>(piece.size() / row);
      quant::check_rows(job, reinterpret_cast<const std::uint8_t*>(piece.data()));
      job.first_row += job.rows;
    });
    if (!whole) return false;
  }
  return true;
}

struct HashedGgufWriter::State {
  std::string path;
  std::vector<std::size_t> sizes;  // of the tensors
  std::vector<std::uint64_t> hashes;
  HashState hash = new_hash();  // of the tensor that is being written
  std::size_t written = 0;      // of it
};

HashedGgufWriter::HashedGgufWriter(std::string path, const GgufWriter::Options& options)
    : writer_(path, options), state_(std::make_unique<State>()) {
  state_->path = std::move(path);
}

HashedGgufWriter::~HashedGgufWriter() = default;

void HashedGgufWriter::begin(GgufMetadata metadata, std::span<const GgufTensor> tensors) {
  std::string listing;
  for (const GgufTensor& tensor : tensors) {
    const GgmlType* const type = find_ggml_type(tensor.dtype);
    append_to_listing(&listing, tensor.name, tensor.shape, type ? type->id : UINT32_MAX);
    state_->sizes.push_back(static_cast<std::size_t>(dense_bytes(tensor.dtype, tensor.shape)));
  }
  metadata.set(std::string(kHashesKey), GgufValue::of_u64s(std::vector<std::uint64_t>(tensors.size())));
  metadata.set(std::string(kListingKey), GgufValue::of_u64(hash_of(listing)));
  writer_.begin(metadata, tensors);
}

void HashedGgufWriter::append(std::span<const std::byte> bytes) {
  writer_.append(bytes);
  XXH3_64bits_update(state_->hash.get(), bytes.data(), bytes.size());
  state_->written += bytes.size();
  if (state_->written < state_->sizes[state_->hashes.size()]) return;
  state_->hashes.push_back(XXH3_64bits_digest(state_->hash.get()));
  XXH3_64bits_reset(state_->hash.get());
  state_->written = 0;
}

bool HashedGgufWriter::verify(const GgufRun& run) {
  TESSERA_CHECK(state_->hashes.size() == state_->sizes.size());
  writer_.update(kHashesKey, GgufValue::of_u64s(state_->hashes));
  writer_.flush();
  try {
    const GgufFile written = read_gguf(writer_.partial_path());
    return compare(written, state_->hashes, ErrorCode::kOutput, run);
  } catch (const Error& error) {
    throw Error(ErrorCode::kOutput, state_->path, error.field(),
                "read again after writing: " + error.reason());
  }
}

}  // namespace tessera
