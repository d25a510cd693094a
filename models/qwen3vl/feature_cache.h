// FeatureCache: features of pictures that were encoded before, found again by what they are made from.
//
//   FeatureCache cache(model, session.options().cpu, {.folder = "features"});
//   auto features = cache.find(pixels);
//   if (!features) cache.insert(pixels, *(features = session.encode(pixels)));
//
// The key is a hash (XXH3-128) of the picture's samples, its grid and what samples stand for; in a folder
// also of the vision weights as they are in memory, the config of the tower, the CPU level and the version of
// the library, so that what is found is, bit for bit, what encoding would give. Not for use from several
// threads at once; processes may share a folder.
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

struct FeatureCacheOptions {
  // The features used least recently are dropped beyond these limits. One picture of 4096 tokens takes
  // 160 MiB with Qwen3-VL-4B.
  std::size_t memory_bytes = std::size_t{256} << 20;
  std::uint64_t folder_bytes = std::uint64_t{4} << 30;
  std::string folder{};  // "": in memory alone
  int threads = 1;       // for hashing the weights, where there is a folder
};

class TESSERA_API FeatureCache {
 public:
  // For the pictures of one model, encoded at one level. Throws Error{kOutput} when the folder cannot be
  // used.
  FeatureCache(std::shared_ptr<const Model> model, const Cpu& cpu, const FeatureCacheOptions& options);
  ~FeatureCache();

  std::optional<PictureFeatures> find(const PixelValues& pixels);
  // Throws Error{kOutput} when the file cannot be written; in memory the features are kept all the same.
  void insert(const PixelValues& pixels, const PictureFeatures& features);

 private:
  struct Entry;
  void remember(Entry entry);

  std::shared_ptr<const Model> model_;
  std::size_t memory_bytes_;
  std::list<Entry> entries_;  // used last comes first
  std::unique_ptr<const FeatureFolder> folder_;
  std::uint64_t made_by_ = 0;  // hash of what features depend on beside the picture
};

}  // namespace tessera::qwen3vl
