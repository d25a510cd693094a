// FeatureCache: features of pictures that were encoded before, found again by what they are made from.
//
//   FeatureCache cache(model, session.options().cpu, {.folder = "features"});
//   auto features = cache.find(pixels);
//   if (!features) cache.insert(pixels, *(features = session.encode(pixels)));
//
// The key is a hash (XXH3-128) of the picture's samples, its grid and what samples stand for; in a folder
// also of all else that decides the bits of features: the vision weights as they are in memory, the tower's
// config, the CPU's levels, OpenBLAS's choice of kernels, and the version of the library (two builds of one
// version are not told apart). Not for use from several threads at once; processes may share a folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "models/qwen3vl/model.h"
#include "models/qwen3vl/picture_features.h"
#include "tensor/api.h"
#include "tensor/cpu.h"

namespace tessera::qwen3vl {

class FeatureFolder;
struct FeatureKey;

struct FeatureCacheOptions {
  // The features used least recently are dropped beyond these limits. One picture of 4096 tokens takes
  // 160 MiB with Qwen3-VL-4B, 256 MiB with 8B.
  std::size_t memory_bytes = std::size_t{512} << 20;
  std::uint64_t folder_bytes = std::uint64_t{4} << 30;
  std::string folder{};  // "": in memory alone
  int threads = 1;       // for hashing the weights, where there is a folder
};

class TESSERA_API FeatureCache {
 public:
  // For the pictures of one model, encoded on this CPU. Throws Error{kOutput} when the folder cannot be used.
  FeatureCache(std::shared_ptr<const Model> model, const Cpu& cpu, const FeatureCacheOptions& options);
  ~FeatureCache();

  // The first time, where there is a folder, after hashing the weights of the tower.
  std::optional<PictureFeatures> find(const PixelValues& pixels);
  // Throws Error{kOutput} when the file cannot be written; in memory the features are kept all the same.
  void insert(const PixelValues& pixels, const PictureFeatures& features);

 private:
  struct Entry;
  FeatureKey key_of(const PixelValues& pixels);
  void remember(Entry entry);

  std::shared_ptr<const Model> model_;
  Cpu cpu_;
  int threads_;
  std::size_t memory_bytes_;
  std::list<Entry> entries_;  // used last comes first
  std::unique_ptr<const FeatureFolder> folder_;
  std::optional<std::uint64_t> made_by_;  // hash of what features depend on beside the picture
};

}  // namespace tessera::qwen3vl
