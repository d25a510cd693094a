#include "examples/common/pictures.h"

#include <filesystem>

#include "examples/common/program.h"
#include "examples/common/progress.h"
#include "tensor/error.h"

namespace tessera::programs {

Grid picture_grid(const ImageSize& seen, const PreprocessConfig& config) {
  return {1, seen.height / config.patch_size, seen.width / config.patch_size};
}

Picture read_picture(const std::string& path, const PreprocessConfig& config) {
  Picture picture;
  picture.path = path;
  const double begin = monotonic_seconds();
  picture.image = read_image(path);
  picture.read_seconds = monotonic_seconds() - begin;
  for (const std::string& text : picture.image.warnings) warn(escape(path) + ": " + escape(text));
  try {
    picture.seen = smart_resize({picture.image.width, picture.image.height}, config.resize_rule());
  } catch (const Error& error) {
    throw Error(error.code(), path, error.field(), error.reason());
  }
  picture.grid = picture_grid(picture.seen, config);
  picture.tokens = picture.grid.tokens(config.merge_size);
  return picture;
}

std::string numbered_path(const std::string& path, std::size_t index) {
  if (index == 0) return path;
  std::filesystem::path numbered(path);
  const std::string name =
      numbered.stem().string() + "-" + std::to_string(index + 1) + numbered.extension().string();
  return numbered.replace_filename(name).string();
}

}  // namespace tessera::programs
