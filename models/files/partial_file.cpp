#include "models/files/partial_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "models/files/descriptor.h"
#include "tensor/error.h"

namespace tessera {
namespace {

std::string reason_of(int error) {
  if (error == ENOSPC || error == EDQUOT) return std::string("disk full: ") + std::strerror(error);
  return std::strerror(error);
}

[[noreturn]] void fail_with(const std::string& path, const std::string& reason) {
  throw Error(ErrorCode::kOutput, path, "", reason);
}

int open_folder(const std::string& folder) {
  return open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

// Removes what killed writers of this target left. A partial file that is still being written is locked.
void remove_stale(const std::string& folder, const std::string& prefix, const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), closedir);
  if (!entries) fail_with(path, "cannot list the folder: " + reason_of(errno));
  while (const dirent* entry = readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(prefix)) continue;
    const std::string_view pid = name.substr(prefix.size());
    if (pid.empty() || pid.find_first_not_of("0123456789") != pid.npos) continue;
    const std::string partial = folder + '/' + entry->d_name;
    const Descriptor file(open(partial.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (file.fd < 0) continue;
    if (flock(file.fd, LOCK_EX | LOCK_NB) == 0) {
      unlink(partial.c_str());
    } else if (errno == EWOULDBLOCK) {
      fail_with(path, "is being written by process " + std::string(pid));
    }
  }
}

}  // namespace

void write_fully(int descriptor, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      fail_with(path, reason_of(errno) + " (" + std::to_string(bytes.size()) + " bytes were left to write)");
    }
    if (written == 0) fail_with(path, "nothing could be written");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

PartialFile::PartialFile(std::string path, IfExists if_exists)
    : path_(std::move(path)), if_exists_(if_exists) {
  const std::size_t slash = path_.rfind('/');
  folder_ = slash == path_.npos ? "." : path_.substr(0, std::max<std::size_t>(slash, 1));
  partial_path_ = path_ + ".partial-" + std::to_string(getpid());
  struct stat status {};
  if (lstat(path_.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) fail_with(path_, "is a directory");
    if (if_exists_ == IfExists::kRefuse) fail_with(path_, "exists");
    if (stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) fail_with(path_, "is no regular file");
  } else if (errno != ENOENT) {
    fail_with(path_, reason_of(errno));
  }
  create();
}

void PartialFile::create() {
  // The folder's lock makes looking for other writers and becoming one of them a single step; it ends with
  // the descriptor. File systems that cannot lock a folder go without.
  const Descriptor folder(open_folder(folder_));
  if (folder.fd < 0) fail_with(path_, "folder " + escape(folder_) + ": " + reason_of(errno));
  flock(folder.fd, LOCK_EX);
  const std::size_t slash = path_.rfind('/');
  const std::string name = slash == path_.npos ? path_ : path_.substr(slash + 1);
  if (name.empty()) fail_with(path_, "is a directory");
  remove_stale(folder_, name + ".partial-", path_);
  descriptor_ = open(partial_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_with(path_, "cannot create " + escape(partial_path_) + ": " + reason_of(errno));
  flock(descriptor_, LOCK_EX | LOCK_NB);
}

PartialFile::~PartialFile() { discard(); }

void PartialFile::discard() noexcept {
  if (!partial_path_.empty() && descriptor_ >= 0) {
    // In this order: a name that is still there belongs to whoever holds its lock.
    unlink(partial_path_.c_str());
    close(descriptor_);
  }
  descriptor_ = -1;
}

void PartialFile::fail(const std::string& reason) {
  discard();
  fail_with(path_, reason);
}

void PartialFile::require_space(std::uint64_t bytes) {
  struct statvfs system {};
  if (fstatvfs(descriptor_, &system) != 0) return;  // the writes will tell
  const std::uint64_t free = std::uint64_t{system.f_bavail} * system.f_frsize;
  if (bytes > free) {
    fail("disk full: needs " + std::to_string(bytes) + " bytes, " + std::to_string(free) + " are free");
  }
}

void PartialFile::append(std::span<const std::byte> bytes) {
  TESSERA_CHECK(descriptor_ >= 0);
  try {
    write_fully(descriptor_, bytes, path_);
  } catch (const Error&) {
    discard();
    throw;
  }
  // Otherwise gigabytes gather in memory and the fsync at the end takes long and cannot be interrupted.
  constexpr std::uint64_t kSendBytes = std::uint64_t{32} << 20;
  unsent_ += bytes.size();
  if (unsent_ < kSendBytes) return;
  unsent_ = 0;
  (void)sync_file_range(descriptor_, 0, 0, SYNC_FILE_RANGE_WRITE);
}

void PartialFile::overwrite(std::uint64_t offset, std::span<const std::byte> bytes) {
  TESSERA_CHECK(descriptor_ >= 0);
  if (lseek(descriptor_, static_cast<off_t>(offset), SEEK_SET) < 0) fail(reason_of(errno));
  append(bytes);
  if (lseek(descriptor_, 0, SEEK_END) < 0) fail(reason_of(errno));
}

void PartialFile::flush() {
  TESSERA_CHECK(descriptor_ >= 0);
  if (fsync(descriptor_) != 0) fail("fsync: " + reason_of(errno));
  (void)posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
}

void PartialFile::commit() {
  TESSERA_CHECK(descriptor_ >= 0);
  if (fsync(descriptor_) != 0) fail("fsync: " + reason_of(errno));
  // Closing ends the lock, so a second descriptor keeps it until the file has its name.
  const Descriptor lock(fcntl(descriptor_, F_DUPFD_CLOEXEC, 0));
  const int closed = close(std::exchange(descriptor_, -1));
  const int close_error = errno;
  const auto drop = [&](const std::string& reason) {
    unlink(partial_path_.c_str());
    fail_with(path_, reason);
  };
  if (closed != 0 && close_error != EINTR) drop("close: " + reason_of(close_error));
  const unsigned flags = if_exists_ == IfExists::kRefuse ? RENAME_NOREPLACE : 0;
  int renamed = renameat2(AT_FDCWD, partial_path_.c_str(), AT_FDCWD, path_.c_str(), flags);
  if (renamed != 0 && (errno == EINVAL || errno == ENOSYS)) {  // file systems without RENAME_NOREPLACE
    renamed = rename(partial_path_.c_str(), path_.c_str());
  }
  if (renamed != 0) drop("rename: " + reason_of(errno));
  const Descriptor folder(open_folder(folder_));
  if (folder.fd < 0 || (fsync(folder.fd) != 0 && errno != EINVAL)) {
    fail_with(path_,
              "written, but its name may not survive a crash: fsync of the folder: " + reason_of(errno));
  }
}

}  // namespace tessera
