#include "examples/common/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "tensor/error.h"

namespace tessera::programs {
namespace {

std::atomic<bool> cancelled{false};
std::atomic<int> pending{0};
std::atomic<bool> cancellable{false};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

int wake_pipe[2] = {-1, -1};
// Made before the handler is installed: nothing there may allocate.
char bus_message[1024];
std::size_t bus_message_length = 0;

// The same for names that may change: the count is 0 while they do.
constexpr int kMaxRemoved = 4;
char removed[kMaxRemoved][4096];
std::atomic<int> removed_count{0};

void remove_files() {
  for (int i = 0; i < removed_count.load(); ++i) {
    if (::unlink(removed[i]) != 0) (void)::rmdir(removed[i]);
  }
}

void on_stop(int signal) {
  if (!cancellable.load() || pending.load() != 0) {
    remove_files();
    ::_exit(128 + signal);
  }
  const int saved = errno;
  pending.store(signal);
  cancelled.store(true);
  (void)!::write(wake_pipe[1], "", 1);
  errno = saved;
}

void on_bus_error(int) {
  remove_files();
  (void)!::write(STDERR_FILENO, bus_message, bus_message_length);
  ::_exit(static_cast<int>(ErrorCode::kModel));
}

void install(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void install_signal_handlers(const std::string& model_path) {
  const std::string text =
      "error: " + escape(model_path) + ": a file was cut or cannot be read while it is in use\n";
  bus_message_length = std::min(text.size(), sizeof bus_message);
  std::memcpy(bus_message, text.data(), bus_message_length);
  if (::pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
    throw Error(ErrorCode::kResource, "", "pipe", std::strerror(errno));
  install(SIGINT, on_stop);
  install(SIGTERM, on_stop);
  install(SIGBUS, on_bus_error);
  install(SIGXFSZ, SIG_IGN);
}

void remove_when_killed(const std::vector<std::string>& paths) {
  removed_count.store(0);
  int count = 0;
  for (const std::string& path : paths) {
    if (count == kMaxRemoved || path.size() >= sizeof removed[0]) continue;
    std::memcpy(removed[count++], path.c_str(), path.size() + 1);
  }
  removed_count.store(count);
}

int pending_signal() { return pending.load(); }

const std::atomic<bool>& cancel_flag() { return cancelled; }

void clear_signal() {
  char drained[16];
  while (::read(wake_pipe[0], drained, sizeof drained) > 0) {
  }
  pending.store(0);
  cancelled.store(false);
}

int signal_descriptor() { return wake_pipe[0]; }

Cancellable::Cancellable() { cancellable.store(true); }
Cancellable::~Cancellable() { cancellable.store(false); }

}  // namespace tessera::programs
