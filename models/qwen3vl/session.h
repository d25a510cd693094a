// Session: one conversation. Encodes pictures, keeps the KV cache, gives logits.
//
//   Session session(model, {.threads = 2, .context = 4096});
//   auto picture = session.encode(preprocess_image(read_image("a.png"), model->preprocess()));
//   std::span<const float> logits = session.prefill(ids, {&*picture, 1});
//   while (...) logits = session.decode(sampler.sample(logits));
//
// Not for use from several threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/image/preprocess.h"
#include "models/qwen3vl/model.h"
#include "models/qwen3vl/picture_features.h"
#include "models/qwen3vl/positions.h"
#include "tensor/api.h"
#include "tensor/buffer.h"
#include "tensor/cpu.h"
#include "tensor/dtype.h"
#include "tensor/executor.h"
#include "tensor/plan.h"

namespace tessera::qwen3vl {

// What a cache can be of: the types, for messages, and one of them by its name.
inline constexpr const char* kCacheDTypes = "f16, bf16, q8_0 or f32";
TESSERA_API std::optional<DType> cache_dtype_from_name(std::string_view name);

// bf16 where attention multiplies pairs of it (kAvx512Bf16, kAmx), else f16.
TESSERA_API DType default_cache_dtype(const Cpu& cpu);

struct SessionOptions {
  int threads = 1;
  std::int64_t context = 4096;  // rows of the KV cache, at most max_position_embeddings
  std::int64_t chunk = 512;     // rows of a prompt computed at once; any number gives the same bits
  // One of kCacheDTypes; default_cache_dtype(cpu) if there is none.
  std::optional<DType> cache_dtype = std::nullopt;
  Cpu cpu = Cpu::from_environment();
};

// Bytes of the KV cache of a session. Throws Error{kUsage} for a type that a cache cannot have, and for q8_0
// where head_dim is no multiple of 32.
TESSERA_API std::size_t cache_bytes(const TextConfig& config, std::int64_t context, DType dtype);

// What encoding a picture will take.
struct EncodeBudget {
  std::size_t bytes = 0;  // beside the weights
  double seconds = 0;     // expected
};

class TESSERA_API Session {
 public:
  // Throws Error{kUsage} for options out of range and as cache_bytes does, kResource when the cache cannot be
  // allocated.
  Session(std::shared_ptr<const Model> model, const SessionOptions& options);
  ~Session();

  // Seconds follow the arithmetic, at the speed of the last picture that was encoded, if it had 128 patches;
  // before that, at that of one block over 128 patches, which is then run (0 when cancelled). Throws
  // Error{kUsage} for samples that do not fit grid and frames.
  EncodeBudget encode_budget(const PixelValues& pixels, const RunOptions& run = {});
  // nullopt when cancelled. Throws as encode_budget, and Error{kModel} for features that are not numbers.
  std::optional<PictureFeatures> encode(const PixelValues& pixels, const RunOptions& run = {});

  // Appends prompt tokens, each picture's placeholder expanded to its tokens, and returns the logits [V]
  // after the last one. Empty when cancelled: the session is then as it was before. Throws Error{kInput} when
  // the tokens exceed what the context has left, or placeholders and pictures disagree, Error{kUsage} for
  // features of another model.
  std::span<const float> prefill(std::span<const std::int32_t> ids,
                                 std::span<const PictureFeatures> pictures = {}, const RunOptions& run = {});
  // As prefill, logits after every token: [ids.size(), V].
  std::span<const float> prefill_all(std::span<const std::int32_t> ids,
                                     std::span<const PictureFeatures> pictures = {},
                                     const RunOptions& run = {});
  // Appends one generated token: logits [V] after it. Empty when cancelled. Throws Error{kInput} when the
  // context is full.
  std::span<const float> decode(std::int32_t id, const RunOptions& run = {});

  // Logits stay valid until the next call that computes. They hold no NaN and are not all -inf: weights or
  // inputs that lead there end in Error{kModel} naming the first text operation whose output holds NaN.

  std::int64_t length() const { return length_; }  // tokens in the cache
  std::int64_t context() const { return options_.context; }
  std::int64_t remaining() const { return options_.context - length_; }
  const SessionOptions& options() const { return options_; }
  // Runs that prefill will make for so many tokens.
  std::int64_t chunk_count(std::int64_t tokens) const;
  void clear();
  // The plan of the last run.
  const std::shared_ptr<const Plan>& plan() const { return plan_; }

 private:
  struct Cache;
  struct Chunk;
  struct Prompt;
  struct VisualCursor;
  RunStatus run(std::span<void* const> slots, const RunOptions& options);
  Chunk make_chunk(const Prompt& prompt, std::int64_t begin, std::int64_t end, VisualCursor& visual) const;
  bool run_chunk(const Chunk& chunk, const RunOptions& options);
  std::span<const float> append(Prompt prompt, const RunOptions& options);
  Positions positions_of(std::span<const std::int32_t> ids, std::span<const PictureFeatures> pictures) const;
  [[noreturn]] void blame_nan(std::span<void* const> slots);
  double measure_encode_speed(const RunOptions& options);
  std::int64_t chunk_end(std::int64_t begin, std::int64_t tokens) const;

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  std::unique_ptr<Cache> cache_;
  Executor executor_;
  PlanCache plans_;
  Graph graph_;
  std::shared_ptr<const Plan> plan_;
  std::vector<float> logits_;
  double encode_speed_ = 0;         // FLOP/s, 0 while it is not known
  std::int64_t length_ = 0;         // rows in the cache
  std::int32_t next_position_ = 0;  // of the next token, smaller than length_ after pictures
};

}  // namespace tessera::qwen3vl
