#include "examples/common/program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <new>

#include "examples/common/signals.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

constexpr int kBrokenPipeStatus = 141;  // as a shell reports a program that SIGPIPE ended

// 0, or the errno of the first write that failed.
int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(descriptor, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

[[noreturn]] void fail_output(const std::string& path, int error) {
  throw Error(ErrorCode::kOutput, path, "", std::string("cannot be written: ") + std::strerror(error));
}

bool is_same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Standard output or standard error where these are this file, else -1.
int stream_of(const struct stat& file) {
  for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat stream = {};
    if (::fstat(descriptor, &stream) == 0 && is_same(file, stream)) return descriptor;
  }
  return -1;
}

// Where a file that exists is; any other path as it is.
std::string without_links(const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

void write_in_place(const std::string& path, std::string_view content) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) fail_output(path, errno);
  int error = write_all(descriptor, content);
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error != 0) fail_output(path, error);
}

void replace_file(const std::string& path, std::string_view content) {
  const std::string partial = path + ".partial-" + std::to_string(::getpid());
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0666);
  if (descriptor < 0) fail_output(path, errno);
  int error = write_all(descriptor, content);
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(partial.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(partial.c_str());
  fail_output(path, error);
}

void open_missing_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) < 0) (void)::open("/dev/null", descriptor == 0 ? O_RDONLY : O_WRONLY);
  }
}

// Waits for the writer of a pipe. Throws ExitNow for a signal that comes meanwhile.
int open_to_read(const std::string& path) {
  while (true) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0 || errno != EINTR) return descriptor;
    if (const int signal = pending_signal()) throw ExitNow{128 + signal};
  }
}

int report(ErrorCode code, const std::string& text) {
  note("error: " + text + "\n");
  return static_cast<int>(code);
}

}  // namespace

int run_program(const std::function<int()>& body) {
  open_missing_streams();
  try {
    return body();
  } catch (const ExitNow& exit) {
    return exit.status;
  } catch (const Error& error) {
    return report(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return report(ErrorCode::kResource, "out of memory");
  } catch (const std::exception& error) {
    return report(ErrorCode::kInternal, escape(error.what()));
  }
}

void note(std::string_view text) { (void)write_all(STDERR_FILENO, text); }

void warn(const std::string& text) { note("warning: " + text + "\n"); }

void print(std::string_view text) {
  const int error = write_all(STDOUT_FILENO, text);
  if (error == EPIPE) throw ExitNow{kBrokenPipeStatus};
  if (error != 0) fail_output("standard output", error);
}

bool is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

std::string escape_for_terminal(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  auto hex = [&](unsigned char c) { out += {'\\', 'x', kDigits[c >> 4], kDigits[c & 15]}; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
      hex(c);
    } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
      hex(static_cast<unsigned char>(next));
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

void write_file(const std::string& path, std::string_view content) {
  struct stat status = {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (const int stream = exists ? stream_of(status) : -1; stream >= 0) {
    if (const int error = write_all(stream, content)) fail_output(path, error);
  } else if (exists && !S_ISREG(status.st_mode)) {
    write_in_place(path, content);
  } else {
    replace_file(without_links(path), content);
  }
}

void check_output_path(const std::string& path) {
  struct stat status = {};
  if (path.empty()) fail_output(path, ENOENT);
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) fail_output(path, EISDIR);
    if (stream_of(status) >= 0) return;
    if (::access(path.c_str(), W_OK) != 0) fail_output(path, errno);
    if (!S_ISREG(status.st_mode)) return;
  } else if (errno != ENOENT) {
    fail_output(path, errno);
  }
  const std::string parent = std::filesystem::path(without_links(path)).parent_path();
  if (::access(parent.empty() ? "." : parent.c_str(), W_OK | X_OK) != 0) fail_output(path, errno);
}

void check_output_folder(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) == 0) {
    if (!S_ISDIR(status.st_mode)) fail_output(path, ENOTDIR);
    if (::access(path.c_str(), W_OK | X_OK) != 0) fail_output(path, errno);
  } else {
    check_output_path(path.substr(0, path.find_last_not_of('/') + 1));
  }
}

void check_output_path(const std::string& path, const std::string& flag,
                       std::span<const std::string> inputs) {
  check_output_path(path);
  for (const std::string& input : inputs) {
    if (same_file(path, input)) throw Error(ErrorCode::kOutput, path, flag, "is an input");
  }
}

bool same_file(const std::string& a, const std::string& b) {
  struct stat x = {}, y = {};
  return ::stat(a.c_str(), &x) == 0 && ::stat(b.c_str(), &y) == 0 && is_same(x, y);
}

std::string read_input_file(const std::string& path, std::size_t max_bytes) {
  auto fail = [&](const std::string& reason) -> void { throw Error(ErrorCode::kInput, path, "", reason); };
  const int descriptor = open_to_read(path);
  if (descriptor < 0) fail(std::string("cannot be read: ") + std::strerror(errno));
  std::string content;
  char block[65536];
  ssize_t n = 1;
  while (n != 0 && content.size() <= max_bytes) {
    n = ::read(descriptor, block, sizeof block);
    if (n < 0 && errno == EINTR && pending_signal() == 0) continue;
    if (n < 0) break;
    content.append(block, static_cast<std::size_t>(n));
  }
  const int error = errno;
  ::close(descriptor);
  if (n < 0 && error == EINTR) throw ExitNow{128 + pending_signal()};
  if (n < 0) fail(std::string("cannot be read: ") + std::strerror(error));
  if (content.size() > max_bytes) fail("too long (expected at most " + std::to_string(max_bytes) + " bytes)");
  return content;
}

}  // namespace tessera::programs
