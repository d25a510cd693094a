// Pictures on their way from files to the model.
#pragma once

#include <cstdint>
#include <string>

#include "models/image/image.h"
#include "models/image/preprocess.h"
#include "models/image/resize.h"

namespace tessera::programs {

struct Picture {
  std::string path;
  Image image;  // upright, as in the file
  double read_seconds = 0;
  ImageSize seen;  // size at which the model sees it
  Grid grid;       // the same in patches
  std::int64_t tokens = 0;
};

// Of a picture that the model sees at this size.
Grid picture_grid(const ImageSize& seen, const PreprocessConfig& config);

// Reads a picture, warns about what is odd in it, and finds out what the model will see. Throws
// Error{kInput}.
Picture read_picture(const std::string& path, const PreprocessConfig& config);

// FILE.png for picture 0, FILE-2.png for picture 1, and so on.
std::string numbered_path(const std::string& path, std::size_t index);

}  // namespace tessera::programs
