#include "models/qwen3vl/quantizer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <utility>

#include "models/files/hashed_gguf_writer.h"
#include "models/qwen3vl/gguf_export.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera::qwen3vl {
namespace {

// Elements encoded together: enough that a disk that keeps the writer waiting for a moment keeps nobody else.
constexpr std::int64_t kPieceElements = std::int64_t{16} << 20;
// Of these each thread takes one at a time; cancelling takes effect after one.
constexpr std::int64_t kPartElements = std::int64_t{1} << 17;
// Pieces that the system is asked to read before they are needed.
constexpr std::size_t kPiecesAhead = 8;

class Stopwatch {
 public:
  // Seconds since the last call or the beginning.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// Some rows of a tensor.
struct Piece {
  std::size_t item;
  std::int64_t first_row, rows;
  std::span<const std::byte> bytes;  // of the checkpoint
};

// What a thread did for a part of a piece.
struct Share {
  quant::QuantizeStats stats;
  double waiting = 0, encoding = 0;  // seconds
  std::exception_ptr error;
};

// One of the two files being made.
struct Target {
  std::string path;
  GgufExport content;
  std::unique_ptr<HashedGgufWriter> writer;
  std::vector<Piece> pieces;
  QuantizedFile report;
};

// A frame of the patch convolution counts as a matrix [E, 3 * P * P].
std::int64_t columns_of(const GgufExport::Item& item) {
  const Shape& s = item.target.shape;
  if (item.frame) return s.elements() / s[0];
  return s.rank() == 0 ? 1 : s.back();
}

std::vector<Piece> pieces_of(const GgufExport& content) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < content.items.size(); ++i) {
    const GgufExport::Item& item = content.items[i];
    const std::int64_t columns = columns_of(item), rows = item.target.shape.elements() / columns;
    const std::int64_t row_bytes = dense_bytes(item.view.dtype, item.view.shape) / rows;
    const std::int64_t step = std::max<std::int64_t>(1, kPieceElements / columns);
    for (std::int64_t row = 0; row < rows; row += step) {
      const std::int64_t n = std::min(step, rows - row);
      pieces.push_back(
          {i, row, n, {item.view.data + row * row_bytes, static_cast<std::size_t>(n * row_bytes)}});
    }
  }
  return pieces;
}

// Bytes of a piece that are the item's own: a frame of a convolution takes only every other block of each
// output channel [3, 2, P, P].
std::span<const std::byte> own_bytes(const GgufExport::Item& item, const Piece& piece,
                                     std::vector<std::byte>* gathered) {
  if (!item.frame) return piece.bytes;
  const Shape& s = item.target.shape;
  const auto block = static_cast<std::size_t>(dense_bytes(item.view.dtype, {s[2], s[3]}));
  gathered->resize(piece.bytes.size() / 2);
  const std::byte* from = piece.bytes.data() + static_cast<std::size_t>(*item.frame) * block;
  for (std::size_t at = 0; at < gathered->size(); at += block, from += 2 * block)
    std::memcpy(gathered->data() + at, from, block);
  return *gathered;
}

// Until the bytes are in memory.
void wait_for(std::span<const std::byte> bytes) {
  constexpr std::size_t kPage = 4096;
  for (std::size_t i = 0; i < bytes.size(); i += kPage)
    (void)*static_cast<const volatile std::byte*>(&bytes[i]);
  if (!bytes.empty()) (void)*static_cast<const volatile std::byte*>(&bytes.back());
}

class Quantizer {
 public:
  Quantizer(const ModelFiles& files, const QuantizerOptions& options) : files_(files), options_(options) {}

  std::optional<QuantizeReport> run() {
    require_threads(options_.threads);
    open(GgufPart::kText, options_.text_path);
    open(GgufPart::kVision, options_.vision_path);
    if (targets_.empty())
      throw Error(ErrorCode::kUsage, files_.path, "", "neither the text nor the vision file is asked for");
    if (options_.partial_files) {
      std::vector<std::string> names;
      for (const Target& target : targets_) names.push_back(target.writer->partial_path());
      options_.partial_files(names);
    }
    for (Target& target : targets_) begin(target);
    for (Target& target : targets_) {
      if (!write(target)) return std::nullopt;
    }
    if (!verify()) return std::nullopt;
    for (Target& target : targets_) {
      target.writer->finish();
      report_.files.push_back(std::move(target.report));
    }
    return std::move(report_);
  }

 private:
  void open(GgufPart part, const std::optional<std::string>& path) {
    if (!path) return;
    GgufWriter::Options options;
    options.if_exists = options_.replace ? IfExists::kReplace : IfExists::kRefuse;
    std::set<std::string> inputs;
    for (const Checkpoint::Entry& entry : files_.checkpoint->entries()) inputs.insert(entry.file);
    options.inputs.assign(inputs.begin(), inputs.end());
    Target& target = targets_.emplace_back();
    target.path = *path;
    target.content = export_gguf(files_, options_.recipe, part);
    target.writer = std::make_unique<HashedGgufWriter>(*path, options);
  }

  void begin(Target& target) {
    std::vector<GgufTensor> tensors;
    for (const GgufExport::Item& item : target.content.items) {
      tensors.push_back(item.target);
      target.report.tensors.push_back({.name = item.target.name,
                                       .source = item.source,
                                       .from = item.view.dtype,
                                       .to = item.target.dtype,
                                       .shape = item.target.shape,
                                       .stats = {}});
    }
    target.writer->begin(target.content.metadata, tensors);
    target.pieces = pieces_of(target.content);
    target.report.path = target.path;
    target.report.bytes = target.writer->bytes();
    for (const Piece& piece : target.pieces) progress_.total += piece.bytes.size();
  }

  bool cancelled() const { return options_.cancel && options_.cancel->load(); }

  bool write(Target& target) {
    std::size_t asked = 0;
    for (std::size_t i = 0; i < target.pieces.size(); ++i) {
      for (; asked < std::min(target.pieces.size(), i + 1 + kPiecesAhead); ++asked)
        files_.checkpoint->will_need(target.pieces[asked].bytes);
      encode_piece(target, target.pieces[i]);
      if (cancelled()) return false;
      advance(target.pieces[i].bytes.size());
    }
    write_ready(target);
    return true;
  }

  // Encodes a piece into ready_ while what was there, the piece before, is written.
  void encode_piece(Target& target, const Piece& piece) {
    const GgufExport::Item& item = target.content.items[piece.item];
    quant::QuantizeJob job{.from = item.view.dtype, .to = item.target.dtype};
    job.columns = columns_of(item);
    job.importance = importance_of(item);
    job.file = files_.checkpoint->path();
    job.tensor = item.source;
    const auto from = own_bytes(item, piece, &gathered_);
    const auto from_row = from.size() / static_cast<std::size_t>(piece.rows);
    const auto to_row = static_cast<std::size_t>(quant::row_bytes(job.to, job.columns));
    const std::int64_t step = std::max<std::int64_t>(1, kPartElements / job.columns);
    std::vector<Share> shares(static_cast<std::size_t>(1 + (piece.rows + step - 1) / step));
    encoded_.resize(static_cast<std::size_t>(piece.rows) * to_row);
    const auto encode = [&](std::int64_t row, Share& share) {
      quant::QuantizeJob part = job;
      part.rows = std::min(step, piece.rows - row);
      part.first_row = piece.first_row + row;
      const auto bytes = from.subspan(static_cast<std::size_t>(row) * from_row,
                                      static_cast<std::size_t>(part.rows) * from_row);
      Stopwatch clock;
      wait_for(bytes);
      share.waiting = clock.lap();
      share.stats = quant::quantize_rows(part, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                         encoded_.data() + static_cast<std::size_t>(row) * to_row);
      share.encoding = clock.lap();
    };
    parallel_for(static_cast<std::int64_t>(shares.size()), 1, options_.threads,
                 [&](std::int64_t i, std::int64_t) {
                   if (cancelled()) return;
                   Share& share = shares[static_cast<std::size_t>(i)];
                   try {
                     i == 0 ? write_ready(target) : encode((i - 1) * step, share);
                   } catch (...) {
                     share.error = std::current_exception();
                   }
                 });
    quant::QuantizeStats& stats = target.report.tensors[piece.item].stats;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      if (shares[i].error) std::rethrow_exception(shares[i].error);
      if (i > 0) stats.add(shares[i].stats);
      report_.waiting_for_reads += shares[i].waiting / options_.threads;
      report_.encoding += shares[i].encoding / options_.threads;
    }
    std::swap(ready_, encoded_);
    files_.checkpoint->drop_pages(piece.bytes);
    report_.bytes_read += from.size();
  }

  void write_ready(Target& target) {
    if (ready_.empty()) return;
    Stopwatch clock;
    target.writer->append(std::as_bytes(std::span(ready_)));
    ready_.clear();
    report_.writing += clock.lap() / options_.threads;
  }

  std::span<const float> importance_of(const GgufExport::Item& item) const {
    if (!options_.importance || info(item.target.dtype).block_elems == 1) return {};
    const auto at = options_.importance->columns.find(item.source);
    return at == options_.importance->columns.end() ? std::span<const float>() : at->second;
  }

  bool verify() {
    Stopwatch clock;
    progress_ = {QuantizeProgress::Phase::kVerifying, 0, 0};
    for (const Target& target : targets_) progress_.total += target.report.bytes;
    for (Target& target : targets_) {
      VerifyRun run{.threads = options_.threads, .cancel = options_.cancel};
      run.progress = [this](std::size_t bytes) { advance(bytes); };
      if (!target.writer->verify(run)) return false;
    }
    report_.verifying = clock.lap();
    return true;
  }

  void advance(std::size_t bytes) {
    progress_.done += bytes;
    if (options_.progress) options_.progress(progress_);
  }

  const ModelFiles& files_;
  const QuantizerOptions& options_;
  std::vector<Target> targets_;
  QuantizeProgress progress_;
  QuantizeReport report_;
  std::vector<std::byte> gathered_;
  std::vector<std::uint8_t> ready_, encoded_;
};

}  // namespace

std::string model_name(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path full = fs::absolute(path, error).lexically_normal();
  if (!full.has_filename()) full = full.parent_path();
  const std::string name = (full.extension() == ".gguf" ? full.stem() : full.filename()).string();
  return name.empty() ? "model" : name;
}

std::optional<QuantizeReport> quantize_model(const ModelFiles& files, const QuantizerOptions& options) {
  return Quantizer(files, options).run();
}

}  // namespace tessera::qwen3vl
