#include "models/qwen3vl/feature_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "models/files/descriptor.h"
#include "models/files/partial_file.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeyDigits = 32;
constexpr std::string_view kSuffix = ".features";
constexpr std::string_view kPartial = ".partial-";  // then six letters of mkostemp
// No write takes this long: whoever began it is gone.
constexpr auto kAbandoned = std::chrono::hours(1);

struct Header {
  char magic[8] = {'t', 'e', 's', 's', 'f', 'e', 'a', 't'};
  std::uint32_t version = 1;
  std::uint32_t reserved = 0;
  FeatureKey key;
  std::uint64_t hash = 0;
};
static_assert(sizeof(Header) == 40);

[[noreturn]] void fail(const std::string& path, int error) {
  throw Error(ErrorCode::kOutput, path, "", std::strerror(error));
}

// What a file of the folder is, by its name: KEY.features, KEY.features.partial-…, or someone else's.
enum class Role { kWhole, kUnfinished, kForeign };
Role role_of(std::string_view name) {
  if (name.find_first_not_of("0123456789abcdef") != kKeyDigits) return Role::kForeign;
  name.remove_prefix(kKeyDigits);
  if (!name.starts_with(kSuffix)) return Role::kForeign;
  name.remove_prefix(kSuffix.size());
  if (name.empty()) return Role::kWhole;
  return name.starts_with(kPartial) && name.size() == kPartial.size() + 6 ? Role::kUnfinished
                                                                          : Role::kForeign;
}

bool read_fully(int fd, void* to, std::size_t bytes) {
  auto* at = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const ssize_t got = ::read(fd, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

FeatureFolder::FeatureFolder(std::string path, std::uint64_t max_bytes)
    : path_(std::move(path)), max_bytes_(max_bytes) {
  if (path_.find('\0') != std::string::npos) fail(path_, EINVAL);
  constexpr mode_t kOwnerOnly = 0700;  // features tell what was on a picture
  if (mkdir(path_.c_str(), kOwnerOnly) != 0 && errno != EEXIST) fail(path_, errno);
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0) fail(path_, errno);
  if (!S_ISDIR(status.st_mode)) fail(path_, ENOTDIR);
  if (access(path_.c_str(), R_OK | W_OK | X_OK) != 0) fail(path_, errno);
}

std::string FeatureFolder::path_of(const FeatureKey& key) const {
  char digits[kKeyDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(key.high),
                static_cast<unsigned long long>(key.low));
  return path_ + '/' + digits + std::string(kSuffix);
}

std::optional<std::vector<float>> FeatureFolder::read(const FeatureKey& key, std::size_t count) const {
  const Descriptor file(open(path_of(key).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  const std::size_t bytes = count * sizeof(float);
  Header header;
  if (file.fd < 0 || fstat(file.fd, &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != sizeof header + bytes ||
      !read_fully(file.fd, &header, sizeof header)) {
    return std::nullopt;
  }
  Header expected;
  expected.key = key;
  expected.hash = header.hash;
  if (std::memcmp(&header, &expected, sizeof header) != 0) return std::nullopt;
  std::vector<float> values(count);
  if (!read_fully(file.fd, values.data(), bytes)) return std::nullopt;
  if (XXH3_64bits(values.data(), bytes) != header.hash) return std::nullopt;
  (void)futimens(file.fd, nullptr);  // used now; a folder shared by several users may not allow it
  return values;
}

void FeatureFolder::write(const FeatureKey& key, std::span<const float> values) const {
  if (sizeof(Header) + values.size_bytes() > max_bytes_) return;
  Header header;
  header.key = key;
  header.hash = XXH3_64bits(values.data(), values.size_bytes());
  const std::string path = path_of(key);
  std::string partial = path + std::string(kPartial) + "XXXXXX";
  {
    const Descriptor file(mkostemp(partial.data(), O_CLOEXEC));
    if (file.fd < 0) fail(path, errno);
    try {
      write_fully(file.fd, std::as_bytes(std::span(&header, 1)), path);
      write_fully(file.fd, std::as_bytes(values), path);
    } catch (const Error&) {
      unlink(partial.c_str());
      throw;
    }
  }
  if (std::rename(partial.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(partial.c_str());
    fail(path, error);
  }
  remove_old(path);
}

// Files that go away meanwhile are others' doing.
void FeatureFolder::remove_old(const std::string& written) const {
  struct File {
    fs::file_time_type used;
    std::uint64_t bytes;
    fs::path path;
  };
  std::vector<File> files;
  std::uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const Role role = role_of(name);
    std::error_code gone;
    const File file{entry->last_write_time(gone), entry->file_size(gone), entry->path()};
    if (gone || role == Role::kForeign) continue;
    if (role == Role::kUnfinished) {
      if (fs::file_time_type::clock::now() - file.used > kAbandoned) fs::remove(file.path, gone);
      continue;
    }
    total += file.bytes;
    if (file.path != written) files.push_back(file);
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used < b.used; });
  for (const File& file : files) {
    if (total <= max_bytes_) break;
    std::error_code gone;
    fs::remove(file.path, gone);
    total -= file.bytes;
  }
}

}  // namespace tessera::qwen3vl
