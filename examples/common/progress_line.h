// A line about how far a long piece of work is, on a terminal only.
#pragma once

#include <string>

namespace tessera::programs {

class ProgressLine {
 public:
  ProgressLine();
  // Removes the line.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Replaces the line on standard error. The text must be printable.
  void show(const std::string& text);

 private:
  bool terminal_;
  bool shown_ = false;
};

}  // namespace tessera::programs
