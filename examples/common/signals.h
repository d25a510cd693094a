// Signals. Handlers can reach global state only, so signals.cpp holds this program's.
#pragma once

#include <atomic>
#include <string>
#include <vector>

namespace tessera::programs {

// SIGINT and SIGTERM end the program at once with 130 and 143, but not inside a Cancellable. SIGBUS, which
// reading a mapped file raises that was cut meanwhile, ends it with 3 and one line that names model_path.
// SIGXFSZ is ignored: a write beyond the file-size limit is an error like any other.
void install_signal_handlers(const std::string& model_path);

// Files and empty folders that go away when a signal ends the program, in this order; in place of those named
// before. Others than the first four, and names of 4096 bytes or more, stay.
void remove_when_killed(const std::vector<std::string>& paths);

// The signal that came inside a Cancellable, 0 when none did.
int pending_signal();
// True from that signal on; for RunOptions::cancel.
const std::atomic<bool>& cancel_flag();
// Forgets a pending signal.
void clear_signal();
// Becomes readable when a signal is pending; for poll().
int signal_descriptor();

// While it lives, a first SIGINT or SIGTERM is only noted; a second ends the program all the same.
class Cancellable {
 public:
  Cancellable();
  ~Cancellable();
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;
};

}  // namespace tessera::programs
