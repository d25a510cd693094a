// FeatureFolder: features of pictures in a folder, across runs. Private to FeatureCache.
//
// One file for each key, KEY.features: a header (magic, version, the key, XXH3-64 of the values), then the
// values, f32, least significant byte first. A file gets its name when it is whole, what is read is checked,
// and a file that is gone or damaged counts as absent: any number of processes may use and clear the folder
// at once. The files used least recently are removed beyond a limit of bytes; files of other names stay.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tessera::qwen3vl {

// XXH3-128 of what features are made from.
struct FeatureKey {
  std::uint64_t low = 0, high = 0;
  friend bool operator==(const FeatureKey&, const FeatureKey&) = default;
};

class FeatureFolder {
 public:
  // Creates the folder, for its owner alone, if there is none. Throws Error{kOutput} naming it where that
  // fails or files cannot be created in it.
  FeatureFolder(std::string path, std::uint64_t max_bytes);

  std::optional<std::vector<float>> read(const FeatureKey& key, std::size_t count) const;
  // Throws Error{kOutput} naming the file; the folder is then as it was. Values that alone exceed the limit
  // are not written.
  void write(const FeatureKey& key, std::span<const float> values) const;

 private:
  std::string path_of(const FeatureKey& key) const;
  void remove_old(const std::string& written) const;

  std::string path_;
  std::uint64_t max_bytes_;
};

}  // namespace tessera::qwen3vl
