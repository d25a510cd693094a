// Buffer: the only type that owns tensor memory.
#pragma once

#include <cstddef>
#include <string>

#include "tensor/api.h"

namespace tessera {

inline constexpr std::size_t kAlignment = 64;  // a cache line and the widest vector

// Bytes that this process can still get: the least of what the system has free (MemAvailable), what its
// cgroup has left and what RLIMIT_AS allows. An estimate for refusing early, not a promise.
TESSERA_API std::size_t available_memory();

// How anonymous memory is committed: page by page, or, for memory that will be written from end to end, in
// pages of 2 MiB where the system has them (transparent huge pages), which take a fraction of the time.
enum class Pages { kSmall, kHuge };

class TESSERA_API Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  // Zeroed anonymous memory, aligned to kAlignment, committed on first touch.
  // Throws Error{kResource} naming the size.
  static Buffer allocate(std::size_t bytes, Pages pages = Pages::kSmall);
  // A read-only mapping of a whole regular file. Throws Error{kModel} when it is missing, no regular file or
  // cannot be mapped, Error{kResource} when there is no address space for it. A file that is truncated while
  // it is mapped raises SIGBUS on access (reliability.md E12): programs install a handler, the library does
  // not.
  static Buffer map_file(const std::string& path);

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  // Tells the system that [offset, offset + bytes) of a file mapping is not needed soon, with all of the
  // pages on which it lies; they come back from the file when they are read.
  void drop_pages(std::size_t offset, std::size_t bytes) const;
  // Tells the system to begin reading [offset, offset + bytes) of a file mapping. Returns at once.
  void will_need(std::size_t offset, std::size_t bytes) const;

 private:
  Buffer(std::byte* data, std::size_t size, bool is_file) : data_(data), size_(size), is_file_(is_file) {}
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  bool is_file_ = false;
};

}  // namespace tessera
