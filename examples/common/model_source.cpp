#include "examples/common/model_source.h"

#include <filesystem>
#include <system_error>

namespace tessera::programs {

std::vector<std::string> ModelSource::files() const {
  std::vector<std::string> files{path};
  if (!mmproj.empty()) files.push_back(mmproj);
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const std::string parent = (std::filesystem::path(path).parent_path() / ".").string();
  for (const auto& file : std::filesystem::directory_iterator(folder ? path : parent, ignored)) {
    // Beside a GGUF file lie the other files of the model.
    if (folder || file.path().extension() == ".gguf") files.push_back(file.path().string());
  }
  return files;
}

void add_model_flags(CLI::App& app, ModelSource& source) {
  app.add_option("-m,--model", source.path,
                 "Qwen3-VL model: Hugging Face folder, GGUF file, or folder with a GGUF pair")
      ->type_name("PATH")
      ->required();
  app.add_option("--mmproj", source.mmproj, "vision file of a GGUF pair [the mmproj*.gguf beside the model]")
      ->type_name("FILE");
  app.add_option_function<std::string>(
         "--type", [&source](const std::string& name) { source.recipe.emplace(name); },
         "quantize while loading: q4_0, q8_0, q4_k_m … as for tessera-quantize")
      ->type_name("NAME");
}

}  // namespace tessera::programs
