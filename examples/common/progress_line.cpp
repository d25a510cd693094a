#include "examples/common/progress_line.h"

#include <unistd.h>

#include "examples/common/program.h"

namespace tessera::programs {

ProgressLine::ProgressLine() : terminal_(is_terminal(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() {
  if (shown_) note("\r\033[K");
}

void ProgressLine::show(const std::string& text) {
  if (!terminal_) return;
  note("\r" + text + "\033[K");
  shown_ = true;
}

}  // namespace tessera::programs
