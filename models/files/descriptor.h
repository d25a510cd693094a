// Private: a file descriptor that is closed with its scope.
#pragma once

#include <unistd.h>

namespace tessera {

struct Descriptor {
  int fd;  // negative: none
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

}  // namespace tessera
