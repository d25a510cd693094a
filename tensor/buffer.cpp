#include "tensor/buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "tensor/error.h"

namespace tessera {
namespace {

struct FileDescriptor {
  int fd;
  ~FileDescriptor() {
    if (fd >= 0) close(fd);
  }
};

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw Error(ErrorCode::kModel, path, "", reason);
}

// The number after `key` in a file of "key number" words; the first number of the file for an empty key.
std::optional<std::size_t> read_number(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (!key.empty() && word != key) continue;
    if (!key.empty()) file >> word;
    std::size_t value = 0;
    const auto end = word.data() + word.size();
    if (std::from_chars(word.data(), end, value).ptr == end) return value;
    return std::nullopt;  // "max": no limit
  }
  return std::nullopt;
}

std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

std::size_t available_memory() {
  std::size_t available = std::numeric_limits<std::size_t>::max();
  if (const auto kib = read_number("/proc/meminfo", "MemAvailable:")) available = *kib * 1024;
  const auto limit = read_number("/sys/fs/cgroup/memory.max", "");
  const auto used = read_number("/sys/fs/cgroup/memory.current", "");
  if (limit && used) available = std::min(available, *limit - std::min(*limit, *used));
  rlimit address_space{};
  if (getrlimit(RLIMIT_AS, &address_space) == 0 && address_space.rlim_cur != RLIM_INFINITY) {
    const std::size_t mapped = read_number("/proc/self/statm", "").value_or(0) * page_bytes();
    const std::size_t allowed = address_space.rlim_cur;
    available = std::min(available, allowed - std::min(allowed, mapped));
  }
  return available;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      is_file_(other.is_file_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(is_file_, other.is_file_);
  return *this;
}

Buffer::~Buffer() {
  if (data_) munmap(data_, size_);
}

Buffer Buffer::allocate(std::size_t bytes, Pages pages) {
  if (bytes == 0) return {};
  const auto fail_to_allocate = [bytes] {
    throw Error(ErrorCode::kResource, "", "memory", "cannot allocate " + std::to_string(bytes) + " bytes");
  };
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t spare = pages == Pages::kHuge && bytes >= kHugePage ? kHugePage : 0;
  if (bytes > std::numeric_limits<std::size_t>::max() - spare) fail_to_allocate();
  void* memory = mmap(nullptr, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_to_allocate();
  auto* data = static_cast<std::byte*>(memory);
  if (spare) {
    // Only what is aligned can become a huge page.
    const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(data) % kHugePage) % kHugePage;
    const std::size_t used = (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
    if (before) munmap(data, before);
    data += before;
    if (before < spare) munmap(data + used, spare - before);
    madvise(data, bytes, MADV_HUGEPAGE);
  }
  return {data, bytes, false};
}

Buffer Buffer::map_file(const std::string& path) {
  // O_NONBLOCK: a FIFO must be refused, not waited for.
  const FileDescriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail(path, std::strerror(errno));
  struct stat status {};
  if (fstat(file.fd, &status) != 0) fail(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
  const auto bytes = static_cast<std::size_t>(status.st_size);
  if (bytes == 0) return {};
  void* memory = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (memory == MAP_FAILED && errno == ENOMEM) {
    throw Error(ErrorCode::kResource, path, "memory", "cannot map " + std::to_string(bytes) + " bytes");
  }
  if (memory == MAP_FAILED) fail(path, std::string("cannot map: ") + std::strerror(errno));
  return {static_cast<std::byte*>(memory), bytes, true};
}

void Buffer::drop_pages(std::size_t offset, std::size_t bytes) const {
  const std::size_t begin = offset / page_bytes() * page_bytes();
  if (bytes && is_file_) madvise(data_ + begin, offset + bytes - begin, MADV_DONTNEED);
}

void Buffer::will_need(std::size_t offset, std::size_t bytes) const {
  const std::size_t begin = offset / page_bytes() * page_bytes();
  if (bytes) madvise(data_ + begin, offset + bytes - begin, MADV_WILLNEED);
}

}  // namespace tessera
