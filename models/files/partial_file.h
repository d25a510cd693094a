// PartialFile: an output file that appears under its name complete and durable, or not at all.
//
// It is written as PATH.partial-PID in the target's folder and renamed at the end (reliability.md §3.0). A
// process that is killed leaves such a file behind; the next writer of the same target removes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tensor/api.h"

namespace tessera {

// Writes all of `bytes` at the descriptor's position, going on after short and interrupted writes.
// Throws Error{kOutput} naming `path`.
void write_fully(int descriptor, std::span<const std::byte> bytes, const std::string& path);

enum class IfExists { kRefuse, kReplace };

// Every failure, also of the members below, throws Error{kOutput, path} with the system's reason; the partial
// file is gone by then and the file at `path`, if there was one, is as it was.
//
// A program sets SIGXFSZ to be ignored, so that a file-size limit arrives here as an error.
class TESSERA_API PartialFile {
 public:
  // Creates the partial file. Refused: a target that exists (with kRefuse) or is no regular file, a missing
  // or read-only folder, and a target that another PartialFile, here or in another process, is writing.
  PartialFile(std::string path, IfExists if_exists);
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  // Removes the partial file unless commit() has returned.
  ~PartialFile();

  const std::string& path() const { return path_; }
  // For signal handlers, which unlink it.
  const std::string& partial_path() const { return partial_path_; }

  // Refuses when the file system has fewer bytes free.
  void require_space(std::uint64_t bytes);
  void append(std::span<const std::byte> bytes);
  // Overwrites bytes that were appended.
  void overwrite(std::uint64_t offset, std::span<const std::byte> bytes);
  // Forces what was written to the disk and out of memory, so that reading it again reads the disk.
  void flush();
  // fsync, close, rename, fsync of the folder. With kRefuse a target that appeared meanwhile is an error.
  // The target may be new already when only the folder's fsync fails.
  void commit();

 private:
  void create();
  void discard() noexcept;
  [[noreturn]] void fail(const std::string& reason);

  std::string path_, folder_, partial_path_;
  IfExists if_exists_;
  int descriptor_ = -1;
  std::uint64_t unsent_ = 0;  // bytes since the disk was last told to begin writing
};

}  // namespace tessera
