#include "models/qwen3vl/feature_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "models/files/partial_file.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSuffix = ".features";
constexpr const char* kPartial = ".features.partial-";
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

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

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
  char name[33];
  std::snprintf(name, sizeof name, "%016llx%016llx", static_cast<unsigned long long>(key.high),
                static_cast<unsigned long long>(key.low));
  return path_ + '/' + name + kSuffix;
}

std::optional<std::vector<float>> FeatureFolder::read(const FeatureKey& key, std::size_t count) const {
  const Descriptor file(open(path_of(key).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  const std::size_t bytes = count * sizeof(float);
  Header header;
  if (file.get() < 0 || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != sizeof header + bytes ||
      !read_fully(file.get(), &header, sizeof header)) {
    return std::nullopt;
  }
  Header expected;
  expected.key = key;
  expected.hash = header.hash;
  if (std::memcmp(&header, &expected, sizeof header) != 0) return std::nullopt;
  std::vector<float> values(count);
  if (!read_fully(file.get(), values.data(), bytes)) return std::nullopt;
  if (XXH3_64bits(values.data(), bytes) != header.hash) return std::nullopt;
  (void)futimens(file.get(), nullptr);  // used now; a folder shared by several users may not allow it
  return values;
}

void FeatureFolder::write(const FeatureKey& key, std::span<const float> values) const {
  if (sizeof(Header) + values.size_bytes() > max_bytes_) return;
  Header header;
  header.key = key;
  header.hash = XXH3_64bits(values.data(), values.size_bytes());
  static std::atomic<unsigned> writes{0};
  const std::string path = path_of(key);
  const std::string partial =
      path + (kPartial + std::strlen(kSuffix)) + std::to_string(getpid()) + "-" + std::to_string(writes++);
  {
    const Descriptor file(open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (file.get() < 0) fail(partial, errno);
    try {
      write_fully(file.get(), std::as_bytes(std::span(&header, 1)), path);
      write_fully(file.get(), std::as_bytes(values), path);
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
void FeatureFolder::remove_old(const std::string& kept) const {
  struct Kept {
    fs::file_time_type used;
    std::uint64_t bytes;
    fs::path path;
  };
  std::vector<Kept> files;
  std::uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    const std::string name = entry->path().filename().string();
    const Kept file{entry->last_write_time(ignored), entry->file_size(ignored), entry->path()};
    if (ignored) continue;
    if (name.find(kPartial) != name.npos && fs::file_time_type::clock::now() - file.used > kAbandoned) {
      fs::remove(entry->path(), ignored);
    } else if (name.ends_with(kSuffix)) {
      total += file.bytes;
      if (entry->path() != kept) files.push_back(file);
    }
  }
  std::sort(files.begin(), files.end(), [](const Kept& a, const Kept& b) { return a.used < b.used; });
  for (const Kept& file : files) {
    if (total <= max_bytes_) break;
    std::error_code ignored;
    fs::remove(file.path, ignored);
    total -= file.bytes;
  }
}

}  // namespace tessera::qwen3vl
