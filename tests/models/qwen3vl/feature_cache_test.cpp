#include "models/qwen3vl/feature_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "models/qwen3vl/session.h"
#include "tests/models/files/expect_error.h"
#include "tests/models/files/temp_dir.h"
#include "tests/models/qwen3vl/golden_case.h"

namespace tessera::testing {
namespace {

namespace fs = std::filesystem;
using qwen3vl::FeatureCache;
using qwen3vl::FeatureCacheOptions;
using qwen3vl::Model;
using qwen3vl::PictureFeatures;
using qwen3vl::Session;

class FeatureCacheTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const Model> model() {
    static const auto loaded = Model::load(GoldenCase("shapes-vl", "one").model_folder(), {.threads = 2});
    return loaded;
  }
  static FeatureCache cache(const FeatureCacheOptions& options) { return {model(), cpu(), options}; }
  static Cpu cpu() { return Cpu::from_environment(); }

  // Of one grey, 64 x 96 pixels.
  static PixelValues pixels(std::uint8_t grey) {
    const Image image{96, 64, std::vector<std::uint8_t>(96 * 64 * 3, grey), {}};
    return preprocess_frames({&image, 1}, model()->preprocess(), Normalization::kImage);
  }
  // Not what encoding gives: numbers that tell one picture's from another's.
  static PictureFeatures features(float first) {
    const auto& config = model()->config().vision;
    std::vector<float> values(static_cast<std::size_t>(feature_shape(config, pixels(0).grid).elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i) / 1024;
    return {config, pixels(0).grid, std::move(values)};
  }
  static std::vector<float> values_of(const std::optional<PictureFeatures>& found) {
    if (!found) return {};
    return {found->values().begin(), found->values().end()};
  }
  static std::vector<float> values_of(float first) { return values_of(features(first)); }
  static std::size_t feature_bytes() { return features(0).values().size_bytes(); }

  std::vector<fs::path> files() const {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder_.path())) paths.push_back(entry.path());
    return paths;
  }

  const TempDir folder_;
};

TEST_F(FeatureCacheTest, FindsInMemoryWhatWasEncoded) {
  FeatureCache kept = cache({});
  EXPECT_FALSE(kept.find(pixels(1)));
  kept.insert(pixels(1), features(10));
  EXPECT_EQ(values_of(kept.find(pixels(1))), values_of(10));
  EXPECT_EQ(kept.find(pixels(1))->grid(), pixels(1).grid);
}

TEST_F(FeatureCacheTest, TellsPicturesApart) {
  FeatureCache kept = cache({});
  kept.insert(pixels(1), features(10));
  PixelValues other = pixels(1);
  other.samples.back() ^= 1;
  EXPECT_FALSE(kept.find(other));
  other = pixels(1);
  std::swap(other.grid.h, other.grid.w);
  EXPECT_FALSE(kept.find(other));
  const Image image{96, 64, std::vector<std::uint8_t>(96 * 64 * 3, 1), {}};
  EXPECT_FALSE(kept.find(preprocess_frames({&image, 1}, model()->preprocess(), Normalization::kVideo)));
}

TEST_F(FeatureCacheTest, DropsFromMemoryWhatWasUsedLeastRecently) {
  FeatureCache kept = cache({.memory_bytes = 2 * feature_bytes()});
  kept.insert(pixels(1), features(10));
  kept.insert(pixels(2), features(20));
  EXPECT_TRUE(kept.find(pixels(1)));
  kept.insert(pixels(3), features(30));
  EXPECT_TRUE(kept.find(pixels(1)));
  EXPECT_FALSE(kept.find(pixels(2)));
  EXPECT_TRUE(kept.find(pixels(3)));

  FeatureCache none = cache({.memory_bytes = feature_bytes() - 1});
  none.insert(pixels(1), features(10));
  EXPECT_FALSE(none.find(pixels(1)));
}

TEST_F(FeatureCacheTest, KeepsAcrossRunsWhatEncodingGave) {
  Session session(model(), {.threads = 2, .context = 64});
  const auto encoded = session.encode(pixels(7));
  ASSERT_TRUE(encoded);
  cache({.folder = folder_.path()}).insert(pixels(7), *encoded);
  FeatureCache later = cache({.folder = folder_.path(), .threads = 2});
  EXPECT_EQ(values_of(later.find(pixels(7))), values_of(encoded));
  EXPECT_FALSE(later.find(pixels(8)));
  ASSERT_EQ(files().size(), 1u);
  EXPECT_EQ(fs::status(folder_.path()).permissions() & fs::perms::others_all, fs::perms::none);
}

TEST_F(FeatureCacheTest, MakesItsFolder) {
  const std::string inner = folder_ / "inner";
  cache({.folder = inner}).insert(pixels(1), features(10));
  EXPECT_EQ(values_of(cache({.folder = inner}).find(pixels(1))), values_of(10));
}

TEST_F(FeatureCacheTest, FindsNothingOfAnotherModelOrLevel) {
  cache({.folder = folder_.path()}).insert(pixels(1), features(10));
  FeatureCache plain(model(), cpu().limited_to(IsaLevel::kScalar), {.folder = folder_.path()});
  EXPECT_EQ(plain.find(pixels(1)).has_value(), cpu().best() == IsaLevel::kScalar);

  const auto quantized = Model::load(GoldenCase("shapes-vl", "one").model_folder(),
                                     {.threads = 2, .recipe = qwen3vl::Recipe("q8_0")});
  FeatureCache other(quantized, cpu(), {.folder = folder_.path()});
  EXPECT_FALSE(other.find(pixels(1)));
}

TEST_F(FeatureCacheTest, TakesDamagedFilesForAbsentAndReplacesThem) {
  cache({.folder = folder_.path()}).insert(pixels(1), features(10));
  const fs::path path = files().at(0);
  const auto whole = fs::file_size(path);
  const auto flip = [&](std::uintmax_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 1));
  };
  const std::pair<const char*, std::function<void()>> damages[] = {
      {"empty", [&] { fs::resize_file(path, 0); }},
      {"cut in the header", [&] { fs::resize_file(path, 20); }},
      {"cut in the values", [&] { fs::resize_file(path, whole - 1); }},
      {"too long", [&] { fs::resize_file(path, whole + 1); }},
      {"magic", [&] { flip(0); }},
      {"version", [&] { flip(8); }},
      {"key", [&] { flip(20); }},
      {"hash", [&] { flip(39); }},
      {"first value", [&] { flip(40); }},
      {"last value", [&] { flip(whole - 1); }},
      {"another picture's", [&] {
         cache({.folder = folder_.path()}).insert(pixels(2), features(20));
         for (const fs::path& other : files()) {
           if (other != path) fs::rename(other, path);
         }
       }}};
  for (const auto& [what, damage] : damages) {
    SCOPED_TRACE(what);
    damage();
    FeatureCache later = cache({.memory_bytes = 0, .folder = folder_.path()});
    EXPECT_FALSE(later.find(pixels(1)));
    later.insert(pixels(1), features(10));
    EXPECT_EQ(values_of(later.find(pixels(1))), values_of(10));
    EXPECT_EQ(files(), std::vector{path});
  }
  fs::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(cache({.folder = folder_.path()}).find(pixels(1)));
}

TEST_F(FeatureCacheTest, RemovesFromTheFolderWhatWasUsedLeastRecently) {
  const std::uint64_t file_bytes = feature_bytes() + 40;
  const FeatureCacheOptions options{
      .memory_bytes = 0, .folder_bytes = 2 * file_bytes, .folder = folder_.path()};
  FeatureCache kept = cache(options);
  kept.insert(pixels(1), features(10));
  const fs::path first = files().at(0);
  kept.insert(pixels(2), features(20));
  const auto age = [&](const fs::path& path) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::minutes(1));
  };
  for (const fs::path& path : files()) age(path);
  EXPECT_TRUE(kept.find(pixels(1)));  // now used later than the other
  kept.insert(pixels(3), features(30));
  EXPECT_TRUE(kept.find(pixels(1)));
  EXPECT_FALSE(kept.find(pixels(2)));
  EXPECT_TRUE(kept.find(pixels(3)));
  EXPECT_EQ(files().size(), 2u);

  FeatureCache small = cache({.memory_bytes = 0, .folder_bytes = file_bytes - 1, .folder = folder_.path()});
  small.insert(pixels(4), features(40));
  EXPECT_FALSE(small.find(pixels(4)));
  EXPECT_TRUE(kept.find(pixels(1)));
}

TEST_F(FeatureCacheTest, ClearsUpAfterKilledWritersAndLeavesOtherFilesAlone) {
  const std::string key(32, '7');
  const std::string abandoned = folder_.write(key + ".features.partial-aB3xY9", "half");
  const std::string written = folder_.write(key + ".features.partial-aB3xY8", "being written");
  const std::string old = folder_.write(key + ".features", std::string(2 * feature_bytes(), 'x'));
  std::vector<fs::path> others;
  for (const std::string name : {"notes.txt", "my.features", "my.features.partial-aB3xY9"})
    others.emplace_back(folder_.write(name, std::string(2 * feature_bytes(), 'x')));
  others.emplace_back(folder_.write(key + ".features.partial-draft.txt", "mine"));
  others.emplace_back(folder_.write(key + "7.features", "mine"));
  for (const fs::path& path : files()) {
    if (path != written) fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(2));
  }
  cache({.folder_bytes = feature_bytes() + 40, .folder = folder_.path()}).insert(pixels(1), features(10));
  EXPECT_FALSE(fs::exists(abandoned));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(written));
  for (const fs::path& path : others) EXPECT_TRUE(fs::exists(path)) << path;
}

// Each has a cache of its own, as processes have; the folder holds less than they write.
TEST_F(FeatureCacheTest, ServesSeveralAtOnce) {
  std::vector<std::thread> users;
  std::atomic<int> found{0}, wrong{0};
  for (int user = 0; user < 4; ++user) {
    users.emplace_back([&, user] {
      FeatureCache kept =
          cache({.memory_bytes = 0, .folder_bytes = 3 * (feature_bytes() + 40), .folder = folder_.path()});
      for (int i = 0; i < 60; ++i) {
        const int picture = (i + user) % 5;
        const auto got = kept.find(pixels(static_cast<std::uint8_t>(picture)));
        found += got.has_value();
        wrong += got && values_of(got) != values_of(static_cast<float>(picture));
        if (!got)
          kept.insert(pixels(static_cast<std::uint8_t>(picture)), features(static_cast<float>(picture)));
      }
    });
  }
  for (std::thread& user : users) user.join();
  EXPECT_GT(found, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(files().size(), 3u);
}

TEST_F(FeatureCacheTest, FeaturesHaveTheirShape) {
  EXPECT_TESSERA_ERROR(PictureFeatures(model()->config().vision, pixels(0).grid, std::vector<float>(7)),
                       kUsage, "features", "7 values do not make [4, 6, 256]");
}

TEST_F(FeatureCacheTest, RejectsAFolderThatCannotBeUsed) {
  const std::string file = folder_.write("file", "");
  EXPECT_TESSERA_ERROR(cache({.folder = file}), kOutput, file, "Not a directory");
  EXPECT_TESSERA_ERROR(cache({.folder = file + "/x"}), kOutput, file, "Not a directory");
  EXPECT_TESSERA_ERROR(cache({.folder = folder_ / "no/such"}), kOutput, "no/such", "No such file");
}

TEST_F(FeatureCacheTest, SaysThatAFileCannotBeWrittenAndKeepsTheFeatures) {
  FeatureCache kept = cache({.folder = folder_.path()});
  fs::remove_all(folder_.path());
  EXPECT_TESSERA_ERROR(kept.insert(pixels(1), features(10)), kOutput, folder_.path(), "No such file");
  EXPECT_EQ(values_of(kept.find(pixels(1))), values_of(10));
}

}  // namespace
}  // namespace tessera::testing
