#include "models/qwen3vl/feature_cache.h"

#include <xxhash.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "models/qwen3vl/feature_folder.h"
#include "models/qwen3vl/weights.h"
#include "ops/kernel_table.h"
#include "ops/matmul/pack.h"
#include "tensor/threads.h"

namespace tessera::qwen3vl {
namespace {

std::vector<TensorView> views_of(const VisionWeights& w) {
  std::vector<TensorView> views{w.patch_embed_weight, w.patch_embed_bias, w.pos_embed};
  for (const VisionBlockWeights& b : w.blocks) {
    views.insert(views.end(),
                 {b.norm1_weight, b.norm1_bias, b.qkv_weight, b.qkv_bias, b.proj_weight, b.proj_bias,
                  b.norm2_weight, b.norm2_bias, b.fc1_weight, b.fc1_bias, b.fc2_weight, b.fc2_bias});
  }
  const auto add = [&](const MergerWeights& m) {
    views.insert(views.end(),
                 {m.norm_weight, m.norm_bias, m.fc1_weight, m.fc1_bias, m.fc2_weight, m.fc2_bias});
  };
  add(w.merger);
  for (const MergerWeights& m : w.deepstack_mergers) add(m);
  return views;
}

std::uint64_t hash_of(const TensorView& view) {
  const std::int64_t bytes = view.layout == 0 ? dense_bytes(view.dtype, view.shape) : ops::weight_bytes(view);
  const auto kind = static_cast<std::uint64_t>(view.dtype) << 8 | view.layout;
  return XXH3_64bits_withSeed(view.data, static_cast<std::size_t>(bytes), kind);
}

std::uint64_t hash_of(const Model& model, const Cpu& cpu, int threads) {
  const std::vector<TensorView> views = views_of(model.weights().vision);
  std::vector<std::uint64_t> hashes(views.size());
  parallel_for(static_cast<std::int64_t>(views.size()), 1, threads,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i)
                   hashes[static_cast<std::size_t>(i)] = hash_of(views[static_cast<std::size_t>(i)]);
               });
  const VisionConfig& c = model.config().vision;
  for (const std::int64_t number :
       {c.depth, c.hidden_size, c.intermediate_size, c.num_heads, c.in_channels, c.patch_size,
        c.temporal_patch_size, c.spatial_merge_size, c.out_hidden_size, c.num_position_embeddings})
    hashes.push_back(static_cast<std::uint64_t>(number));
  for (const std::int64_t block : c.deepstack_visual_indexes)
    hashes.push_back(static_cast<std::uint64_t>(block));
  const std::string arithmetic = ops::arithmetic_of(cpu);
  for (const std::string_view text : {std::string_view(arithmetic), std::string_view(TESSERA_VERSION)})
    hashes.push_back(XXH3_64bits(text.data(), text.size()));
  return XXH3_64bits(hashes.data(), hashes.size() * sizeof hashes[0]);
}

}  // namespace

struct FeatureCache::Entry {
  FeatureKey key;
  PictureFeatures features;
};

FeatureCache::FeatureCache(std::shared_ptr<const Model> model, const Cpu& cpu,
                           const FeatureCacheOptions& options)
    : model_(std::move(model)), cpu_(cpu), threads_(options.threads), memory_bytes_(options.memory_bytes) {
  if (!options.folder.empty())
    folder_ = std::make_unique<const FeatureFolder>(options.folder, options.folder_bytes);
}

FeatureCache::~FeatureCache() = default;

FeatureKey FeatureCache::key_of(const PixelValues& pixels) {
  if (!made_by_) made_by_ = folder_ ? hash_of(*model_, cpu_, threads_) : 0;
  const std::int64_t numbers[] = {pixels.grid.t, pixels.grid.h, pixels.grid.w, pixels.frames};
  std::uint64_t seed = XXH3_64bits_withSeed(numbers, sizeof numbers, *made_by_);
  seed = XXH3_64bits_withSeed(pixels.levels.data(), sizeof pixels.levels, seed);
  const XXH128_hash_t hash = XXH3_128bits_withSeed(pixels.samples.data(), pixels.samples.size(), seed);
  return {hash.low64, hash.high64};
}

std::optional<PictureFeatures> FeatureCache::find(const PixelValues& pixels) {
  const FeatureKey key = key_of(pixels);
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return found->features;
  }
  if (!folder_) return std::nullopt;
  const VisionConfig& config = model_->config().vision;
  auto values = folder_->read(key, static_cast<std::size_t>(feature_shape(config, pixels.grid).elements()));
  if (!values) return std::nullopt;
  PictureFeatures features(config, pixels.grid, std::move(*values));
  remember({key, features});
  return features;
}

void FeatureCache::insert(const PixelValues& pixels, const PictureFeatures& features) {
  const FeatureKey key = key_of(pixels);
  remember({key, features});
  if (folder_) folder_->write(key, features.values());
}

void FeatureCache::remember(Entry entry) {
  std::erase_if(entries_, [&](const Entry& other) { return other.key == entry.key; });
  entries_.push_front(std::move(entry));
  std::size_t bytes = 0;
  auto at = entries_.begin();
  while (at != entries_.end() && (bytes += at->features.values().size_bytes()) <= memory_bytes_) ++at;
  entries_.erase(at, entries_.end());
}

}  // namespace tessera::qwen3vl
