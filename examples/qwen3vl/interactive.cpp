#include "examples/qwen3vl/interactive.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "examples/common/program.h"
#include "examples/common/signals.h"
#include "examples/qwen3vl/report.h"
#include "models/text/tokenizer.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

// Lines of standard input; waiting ends when a signal comes.
class LineReader {
 public:
  // Nothing at the end of input and after a signal.
  std::optional<std::string> next() {
    std::size_t end;
    while ((end = buffer_.find('\n', searched_)) == std::string::npos) {
      searched_ = buffer_.size();
      if (!fill()) {
        if (buffer_.empty() || pending_signal() != 0) return std::nullopt;
        end = buffer_.size();
        break;
      }
    }
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    searched_ = 0;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return line;
  }

 private:
  // False when there is no more.
  bool fill() {
    if (buffer_.size() > kMaxTextBytes)
      throw Error(ErrorCode::kInput, "standard input", "",
                  "line too long (expected at most " + std::to_string(kMaxTextBytes) + " bytes)");
    pollfd waiting[2] = {{STDIN_FILENO, POLLIN, 0}, {signal_descriptor(), POLLIN, 0}};
    while (pending_signal() == 0) {
      if (::poll(waiting, 2, -1) < 0 || waiting[0].revents == 0) continue;
      char block[4096];
      const ssize_t n = ::read(STDIN_FILENO, block, sizeof block);
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n < 0) throw Error(ErrorCode::kInput, "standard input", "", std::strerror(errno));
      buffer_.append(block, static_cast<std::size_t>(n));
      return n > 0;
    }
    return false;
  }

  std::string buffer_;
  std::size_t searched_ = 0;
};

class Dialogue {
 public:
  Dialogue(Conversation& conversation, std::vector<Picture> pictures, const PreprocessConfig& preprocess)
      : conversation_(conversation), pictures_(std::move(pictures)), preprocess_(preprocess) {}

  // False when the line ends the dialogue.
  bool handle(const std::string& line) {
    if (line == "/quit" || line == "/exit") return false;
    if (line == "/clear") {
      conversation_.clear();
      pictures_.clear();
    } else if (line.rfind("/image ", 0) == 0) {
      add_picture(line.substr(std::strlen("/image ")));
    } else if (!line.empty() && line[0] == '/') {
      warn("unknown command (expected /image FILE, /clear or /quit)");
    } else if (!line.empty()) {
      say(line);
    }
    return true;
  }

 private:
  void add_picture(const std::string& path) {
    pictures_.push_back(read_picture(path, preprocess_));
    note(escape(path) + ": " + std::to_string(pictures_.back().tokens) + " tokens in the next message\n");
  }

  void say(const std::string& line) {
    // A message that is rejected takes its pictures along, lest they make the next one fail too.
    const std::vector<Picture> pictures = std::move(pictures_);
    pictures_.clear();
    const Answer answer = conversation_.ask(line, pictures);
    if (answer.finish == FinishReason::kCancelled) note("stopped\n");
    if (answer.finish == FinishReason::kContext) warn("the context is full: /clear starts anew");
  }

  Conversation& conversation_;
  std::vector<Picture> pictures_;
  const PreprocessConfig& preprocess_;
};

}  // namespace

int run_interactive(Conversation& conversation, std::vector<Picture> pictures,
                    const PreprocessConfig& preprocess) {
  const bool prompt = is_terminal(STDIN_FILENO);
  Dialogue dialogue(conversation, std::move(pictures), preprocess);
  LineReader lines;
  while (true) {
    if (prompt) note("> ");
    const Cancellable cancellable;
    const auto line = lines.next();
    if (!line && prompt) note("\n");
    if (pending_signal() != 0) return 128 + pending_signal();
    if (!line) return 0;
    try {
      if (!dialogue.handle(*line)) return 0;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInput && error.code() != ErrorCode::kResource) throw;
      note(std::string("error: ") + error.what() + "\n");
    }
    if (pending_signal() == SIGTERM) return 128 + SIGTERM;
    clear_signal();
  }
}

}  // namespace tessera::programs
