#include "models/qwen3vl/session.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "models/qwen3vl/positions.h"
#include "models/qwen3vl/text.h"
#include "models/qwen3vl/vision.h"
#include "models/qwen3vl/weights.h"
#include "ops/matmul/activations.h"
#include "ops/ops.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

// Finds the first step of a run whose output holds NaN.
class NanFinder : public StepObserver {
 public:
  void run_begins(const Plan& plan, int) override { plan_ = &plan; }
  void step_done(int step, std::span<const TensorView>, const TensorView& output) noexcept override {
    // Beside what a step wrote there stand numbers of earlier runs; its own were seen where they were made.
    const OpDef& op = *plan_->steps()[static_cast<std::size_t>(step)].op;
    if (found_ < 0 && op.writes_input < 0 && output.is_dense() && has_nan(op, output)) found_ = step;
  }
  std::string place() const {
    if (found_ < 0) return "logits";
    const Step& step = plan_->steps()[static_cast<std::size_t>(found_)];
    return step.name + " (" + step.op->name + ")";
  }

 private:
  static bool has_nan(const OpDef& op, const TensorView& output) {
    const std::int64_t count = output.shape.elements();
    if (output.dtype == DType::kI32 && std::string_view(op.name) == "matmul") {  // codes for the next product
      const auto* groups = output.as<ops::ActivationGroup>();
      return std::any_of(groups, groups + count / ops::kGroupDwords,
                         [](const ops::ActivationGroup& group) { return std::isnan(group.d); });
    }
    if (output.dtype != DType::kF32) return false;
    const auto* values = output.as<float>();
    return std::any_of(values, values + count, [](float x) { return std::isnan(x); });
  }

  const Plan* plan_ = nullptr;
  int found_ = -1;
};

bool usable(std::span<const float> logits) {
  bool any = false;
  for (const float x : logits) {
    if (std::isnan(x)) return false;
    any |= x > -INFINITY;
  }
  return any;
}

// Of one layer.
TensorDesc layer_cache(const TextConfig& config, std::int64_t context, DType dtype, ops::CachePart part) {
  return ops::cache_desc(dtype, part, {context, config.num_key_value_heads, config.head_dim});
}

}  // namespace

struct Session::Cache {
  Buffer memory;
  std::vector<LayerCache> layers;
};

struct Session::Prompt {
  std::span<const std::int32_t> ids;
  std::span<const PictureFeatures> pictures;
  Positions positions;
  LogitRows logits = LogitRows::kLast;
};

struct Session::VisualCursor {
  std::size_t picture = 0;
  std::int64_t row = 0;
};

// Rows of a prompt that are computed together.
struct Session::Chunk {
  std::span<const std::int32_t> ids;
  std::vector<std::int32_t> positions;          // [3, T]
  std::vector<std::int32_t> visual_index;       // places of picture rows among the T
  std::vector<std::vector<float>> visual_rows;  // 1 + K of [R, D]
  LogitRows logits = LogitRows::kLast;
};

std::optional<DType> cache_dtype_from_name(std::string_view name) {
  const auto dtype = dtype_from_name(name);
  const bool known =
      dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kQ8_0 || dtype == DType::kF32;
  return known ? dtype : std::nullopt;
}

DType default_cache_dtype(const Cpu& cpu) {
  return cpu.has(IsaLevel::kAvx512Bf16) ? DType::kBF16 : DType::kF16;
}

std::size_t cache_bytes(const TextConfig& config, std::int64_t context, DType dtype) {
  const std::string type(info(dtype).name);
  auto refuse = [](const std::string& reason) { throw Error(ErrorCode::kUsage, "", "cache type", reason); };
  if (!cache_dtype_from_name(type)) refuse("not supported (got " + type + ", expected " + kCacheDTypes + ")");
  if (config.head_dim % info(dtype).block_elems != 0) {
    refuse(type + " does not fit this model (got head_dim " + std::to_string(config.head_dim) +
           ", expected a multiple of " + std::to_string(info(dtype).block_elems) + ")");
  }
  std::size_t bytes = 0;
  for (const ops::CachePart part : {ops::CachePart::kKeys, ops::CachePart::kValues}) {
    bytes += ops::cache_bytes(layer_cache(config, context, dtype, part));
  }
  return bytes * static_cast<std::size_t>(config.num_hidden_layers);
}

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options)
    : model_(std::move(model)),
      options_(options),
      cache_(std::make_unique<Cache>()),
      executor_(options.threads),
      plans_(options.cpu) {
  const TextConfig& c = model_->config().text;
  auto refuse = [](const char* field, const std::string& reason) {
    throw Error(ErrorCode::kUsage, "", field, reason);
  };
  if (options.context < 1 || options.context > c.max_position_embeddings) {
    refuse("context", "out of range (got " + std::to_string(options.context) + ", expected 1 to " +
                          std::to_string(c.max_position_embeddings) + ")");
  }
  if (options.chunk < 1)
    refuse("chunk", "out of range (got " + std::to_string(options.chunk) + ", expected 1 or more)");
  options_.chunk = std::min(options.chunk, options.context);  // more would only overflow sums
  const DType dtype = options.cache_dtype.value_or(default_cache_dtype(options.cpu));
  cache_->memory = Buffer::allocate(cache_bytes(c, options.context, dtype), Pages::kHuge);
  std::byte* at = cache_->memory.data();
  const auto place = [&](ops::CachePart part) {
    const TensorView view(layer_cache(c, options.context, dtype, part), at);
    at += ops::cache_bytes(view);
    return view;
  };
  for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
    cache_->layers.push_back({place(ops::CachePart::kKeys), place(ops::CachePart::kValues)});
  }
}

Session::~Session() = default;

RunStatus Session::run(std::span<void* const> slots, const RunOptions& options) {
  plan_ = plans_.get(graph_);
  executor_.prepare(plan_);
  return executor_.run(slots, options);
}

// Runs the same plan again, looking for the step that made the first NaN.
void Session::blame_nan(std::span<void* const> slots) {
  NanFinder finder;
  executor_.run(slots, {nullptr, &finder});
  throw Error(ErrorCode::kModel, model_->path(), finder.place(),
              "not a number: the weights or inputs are damaged");
}

namespace {

void build_vision(Graph& g, const VisionWeights& weights, const VisionConfig& c, const PixelValues& pixels) {
  const Grid& grid = pixels.grid;
  const Shape samples{pixels.frames, grid.h * c.patch_size, grid.w * c.patch_size, c.in_channels};
  const Shape features = feature_shape(c, grid);
  const std::int64_t steps = (pixels.frames + c.temporal_patch_size - 1) / c.temporal_patch_size;
  if (static_cast<std::int64_t>(pixels.samples.size()) != samples.elements() || grid.t != steps) {
    throw Error(ErrorCode::kUsage, "", "pixels",
                std::to_string(pixels.samples.size()) + " samples of " + std::to_string(pixels.frames) +
                    " frames do not make a grid of " + Shape{grid.t, grid.h, grid.w}.to_string());
  }
  g.clear();
  VisionInputs in;
  in.grid = grid;
  in.samples = g.input(DType::kU8, samples, "samples");
  in.levels = g.input(DType::kF32, {c.in_channels, 256}, "levels");
  in.positions = g.input(DType::kI32, {2, grid.patches()}, "positions");
  in.features = g.input(DType::kF32, {features[0] * features[1], 1, features[2]}, "features");
  in.first_rows = g.input(DType::kI32, {features[0]}, "first_rows");
  g.output(vision_forward(g, weights, c, in));
}

// What the slots of such a graph point to.
struct VisionMemory {
  VisionMemory(const VisionConfig& c, const PixelValues& pixels)
      : positions(vision_positions(pixels.grid, c.spatial_merge_size)) {
    const Shape shape = feature_shape(c, pixels.grid);
    features.resize(static_cast<std::size_t>(shape.elements()));
    for (std::int64_t level = 0; level < shape[0]; ++level)
      first_rows.push_back(static_cast<std::int32_t>(level * shape[1]));
    slots = {const_cast<std::uint8_t*>(pixels.samples.data()), const_cast<float*>(pixels.levels[0].data()),
             positions.data(), features.data(), first_rows.data()};
  }
  std::vector<std::int32_t> positions, first_rows;
  std::vector<float> features;
  std::array<void*, 5> slots;
};

// Of the picture that measures the speed of encoding; smaller ones say little about others.
constexpr int kProbePatches = 128;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

// Runs the tower with one block of its blocks over a small picture.
double Session::measure_encode_speed(const RunOptions& options) {
  VisionConfig config = model_->config().vision;
  VisionWeights weights = model_->weights().vision;
  weights.blocks.resize(1);
  config.deepstack_visual_indexes.clear();
  PixelValues pixels;
  const auto merge = static_cast<int>(config.spatial_merge_size);
  pixels.grid = {1, merge, (kProbePatches / merge + merge - 1) / merge * merge};
  pixels.frames = 1;
  pixels.samples.resize(static_cast<std::size_t>(pixels.grid.patches() * config.patch_size *
                                                 config.patch_size * config.in_channels));
  VisionMemory memory(config, pixels);
  build_vision(graph_, weights, config, pixels);
  double seconds = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 2; ++i) {  // threads and memory are cold at first
    const double begin = now_seconds();
    if (run(memory.slots, options) == RunStatus::kCancelled) return 0;
    seconds = std::min(seconds, now_seconds() - begin);
  }
  return plan_->cost().flops / seconds;
}

EncodeBudget Session::encode_budget(const PixelValues& pixels, const RunOptions& options) {
  const VisionConfig& c = model_->config().vision;
  build_vision(graph_, model_->weights().vision, c, pixels);
  const std::shared_ptr<const Plan> plan = plans_.get(graph_);
  if (encode_speed_ == 0) encode_speed_ = measure_encode_speed(options);
  const auto features = static_cast<std::size_t>(feature_shape(c, pixels.grid).elements());
  return {plan->bytes(options_.threads) + features * sizeof(float),
          encode_speed_ > 0 ? plan->cost().flops / encode_speed_ : 0};
}

std::optional<PictureFeatures> Session::encode(const PixelValues& pixels, const RunOptions& options) {
  const VisionConfig& c = model_->config().vision;
  build_vision(graph_, model_->weights().vision, c, pixels);
  VisionMemory memory(c, pixels);
  const double begin = now_seconds();
  if (run(memory.slots, options) == RunStatus::kCancelled) return std::nullopt;
  if (pixels.grid.patches() >= kProbePatches) encode_speed_ = plan_->cost().flops / (now_seconds() - begin);
  const auto is_nan = [](float x) { return std::isnan(x); };
  if (std::any_of(memory.features.begin(), memory.features.end(), is_nan)) blame_nan(memory.slots);
  return PictureFeatures(c, pixels.grid, std::move(memory.features));
}

bool Session::run_chunk(const Chunk& chunk, const RunOptions& options) {
  const auto rows = static_cast<std::int64_t>(chunk.ids.size());
  const auto visual = static_cast<std::int64_t>(chunk.visual_index.size());
  const TextConfig& c = model_->config().text;
  auto past = static_cast<std::int32_t>(length_);

  graph_.clear();
  std::vector<void*> slots;
  auto bind = [&](DType dtype, const Shape& shape, const char* name, const void* data) {
    slots.push_back(const_cast<void*>(data));
    return graph_.input(dtype, shape, name);
  };
  TextInputs in;
  in.cache = cache_->layers;
  in.tokens = bind(DType::kI32, {rows}, "tokens", chunk.ids.data());
  in.positions = bind(DType::kI32, {3, rows}, "positions", chunk.positions.data());
  in.past = bind(DType::kI32, {1}, "past", &past);
  std::vector<Tensor> deepstack;
  if (visual) {
    in.visual_index = bind(DType::kI32, {visual}, "visual_index", chunk.visual_index.data());
    in.visual_rows = bind(DType::kF32, {visual, c.hidden_size}, "visual_rows", chunk.visual_rows[0].data());
    for (std::size_t k = 1; k < chunk.visual_rows.size(); ++k) {
      deepstack.push_back(
          bind(DType::kF32, {visual, c.hidden_size}, "deepstack", chunk.visual_rows[k].data()));
    }
    in.deepstack = deepstack;
  }
  graph_.output(text_forward(graph_, model_->weights().text, c, in, chunk.logits));
  if (run(slots, options) == RunStatus::kCancelled) return false;

  const TensorView out = executor_.output(0);
  const std::span<const float> logits(out.as<float>(), static_cast<std::size_t>(out.shape.elements()));
  if (!usable(logits)) blame_nan(slots);
  if (chunk.logits == LogitRows::kLast) logits_.clear();
  logits_.insert(logits_.end(), logits.begin(), logits.end());
  length_ += rows;
  return true;
}

// Rows [begin, chunk_end) are computed together. A prompt's last row never stands alone behind others: a
// product of one row may round otherwise (ops::matmul), and any chunk size must give the same bits.
std::int64_t Session::chunk_end(std::int64_t begin, std::int64_t tokens) const {
  const std::int64_t end = begin + std::max<std::int64_t>(2, options_.chunk);
  return end + 1 >= tokens ? tokens : end;
}

std::int64_t Session::chunk_count(std::int64_t tokens) const {
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < tokens; at = chunk_end(at, tokens)) ++count;
  return count;
}

// The rows [begin, end) of a prompt, with the rows of pictures that fall among them. `visual` counts the
// picture rows already passed.
Session::Chunk Session::make_chunk(const Prompt& prompt, std::int64_t begin, std::int64_t end,
                                   VisualCursor& visual) const {
  const auto tokens = static_cast<std::int64_t>(prompt.ids.size());
  Chunk chunk;
  chunk.logits = prompt.logits;
  chunk.ids = prompt.ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  for (int axis = 0; axis < 3; ++axis) {
    const auto first = prompt.positions.values.begin() + axis * tokens;
    chunk.positions.insert(chunk.positions.end(), first + begin, first + end);
  }
  chunk.visual_rows.resize(1 + model_->config().vision.deepstack_visual_indexes.size());
  if (prompt.pictures.empty()) return chunk;
  for (std::int64_t i = 0; i < end - begin; ++i) {
    if (chunk.ids[static_cast<std::size_t>(i)] != model_->config().image_token_id) continue;
    const PictureFeatures& source = prompt.pictures[visual.picture];
    chunk.visual_index.push_back(static_cast<std::int32_t>(i));
    for (std::size_t k = 0; k < chunk.visual_rows.size(); ++k) {
      const float* row = source.level(static_cast<int>(k)) + visual.row * source.width();
      chunk.visual_rows[k].insert(chunk.visual_rows[k].end(), row, row + source.width());
    }
    if (++visual.row == source.tokens()) visual = {visual.picture + 1, 0};
  }
  return chunk;
}

std::span<const float> Session::append(Prompt prompt, const RunOptions& options) {
  const auto tokens = static_cast<std::int64_t>(prompt.ids.size());
  if (tokens == 0) throw Error(ErrorCode::kInput, "", "prompt", "empty");
  if (tokens > remaining()) {
    throw Error(ErrorCode::kInput, "", "prompt",
                "does not fit the context (got " + std::to_string(tokens) + " tokens, " +
                    std::to_string(remaining()) + " of " + std::to_string(context()) + " left)");
  }
  const std::int64_t length_before = length_;
  logits_.clear();
  VisualCursor visual;
  bool done = true;
  try {
    for (std::int64_t begin = 0; begin < tokens && done;) {
      const std::int64_t end = chunk_end(begin, tokens);
      done = run_chunk(make_chunk(prompt, begin, end, visual), options);
      begin = end;
    }
  } catch (...) {
    length_ = length_before;
    throw;
  }
  if (!done) {
    length_ = length_before;
    return {};
  }
  next_position_ = prompt.positions.next;
  return logits_;
}

Positions Session::positions_of(std::span<const std::int32_t> ids,
                                std::span<const PictureFeatures> pictures) const {
  std::vector<Grid> grids;
  for (const PictureFeatures& picture : pictures) {
    if (picture.shape() != feature_shape(model_->config().vision, picture.grid()))
      throw Error(ErrorCode::kUsage, "", "pictures", "features of another model");
    grids.push_back(picture.grid());
  }
  return token_positions(ids, grids, {}, model_->config(), next_position_);
}

std::span<const float> Session::prefill(std::span<const std::int32_t> ids,
                                        std::span<const PictureFeatures> pictures,
                                        const RunOptions& options) {
  return append({ids, pictures, positions_of(ids, pictures), LogitRows::kLast}, options);
}

std::span<const float> Session::prefill_all(std::span<const std::int32_t> ids,
                                            std::span<const PictureFeatures> pictures,
                                            const RunOptions& options) {
  return append({ids, pictures, positions_of(ids, pictures), LogitRows::kAll}, options);
}

std::span<const float> Session::decode(std::int32_t id, const RunOptions& options) {
  // Whatever the token, it stands for itself: a model may say <|image_pad|> without a picture.
  const std::int32_t at = next_position_;
  return append({{&id, 1}, {}, {{at, at, at}, at + 1}, LogitRows::kLast}, options);
}

void Session::clear() {
  length_ = 0;
  next_position_ = 0;
}

}  // namespace tessera::qwen3vl
