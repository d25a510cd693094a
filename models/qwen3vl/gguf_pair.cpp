#include "models/qwen3vl/gguf_pair.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "models/files/weight_binder.h"
#include "models/qwen3vl/gguf_config.h"
#include "models/qwen3vl/gguf_names.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

namespace fs = std::filesystem;

constexpr char kArchitecture[] = "general.architecture";

// NAME-00002-of-00003.gguf and so on, which are read with the first part.
bool is_later_part(const std::string& name) {
  constexpr std::string_view kTail = "-00001-of-00001.gguf";
  if (name.size() < kTail.size()) return false;
  const std::string_view tail = std::string_view(name).substr(name.size() - kTail.size());
  return tail.substr(6, 4) == "-of-" && tail[0] == '-' && tail.substr(1, 5) != "00001" &&
         std::all_of(tail.begin() + 1, tail.begin() + 6, [](char c) { return c >= '0' && c <= '9'; });
}

// The GGUF files of a folder by name, without later parts.
std::vector<std::string> list_gguf(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const fs::path& file = at->path();
    std::error_code ignored;
    if (file.extension() == ".gguf" && fs::is_regular_file(file, ignored) &&
        !is_later_part(file.filename().string())) {
      files.push_back(file.string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_vision_file(const std::string& path) {
  if (fs::path(path).filename().string().starts_with("mmproj")) return true;
  try {
    return read_gguf(path).metadata.string(kArchitecture) == kVisionArchitecture;
  } catch (const Error&) {
    return false;  // whoever needs this file will hear what is wrong with it
  }
}

std::string names_of(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) names.push_back(fs::path(path).filename().string());
  return join_names(names);
}

std::string text_file_in(const std::string& folder, const std::string& mmproj) {
  std::vector<std::string> texts = list_gguf(folder);
  std::error_code ignored;
  std::erase_if(texts, [&](const std::string& path) {
    return is_vision_file(path) || (!mmproj.empty() && fs::equivalent(path, mmproj, ignored));
  });
  if (texts.size() == 1) return texts[0];
  if (texts.empty()) {
    throw Error(ErrorCode::kModel, folder, "", "holds no text model, only " + names_of(list_gguf(folder)));
  }
  throw Error(ErrorCode::kUsage, folder, "", "holds several text models; name one of " + names_of(texts));
}

// The vision file beside a text file.
std::string vision_file_beside(const std::string& text) {
  const fs::path parent = fs::path(text).parent_path();
  std::vector<std::string> visions = list_gguf(parent.empty() ? "." : parent.string());
  std::error_code ignored;
  std::erase_if(visions, [&](const std::string& path) {
    return fs::equivalent(path, text, ignored) || !is_vision_file(path);
  });
  if (visions.size() == 1) return visions[0];
  if (visions.empty()) {
    throw Error(
        ErrorCode::kModel, text, "",
        "is only the text part of a model; the vision part is missing (expected one file mmproj*.gguf "
        "beside it, or named with --mmproj)");
  }
  throw Error(ErrorCode::kUsage, text, "--mmproj",
              "several vision files are beside the model; name one of " + names_of(visions));
}

GgufFile open_text(const std::string& path, const std::string& mmproj) {
  GgufFile file = read_gguf(path);
  if (file.metadata.string(kArchitecture) == kVisionArchitecture) {
    const std::string other =
        mmproj.empty() ? "" : "; " + escape(mmproj) + " was named as the vision file: swapped?";
    file.metadata.fail(kArchitecture, "is the vision file of a model, expected its text file (got \"" +
                                          std::string(kVisionArchitecture) + "\", expected \"" +
                                          kTextArchitecture + "\")" + other);
  }
  check_text_architecture(file.metadata);
  return file;
}

GgufFile open_vision(const std::string& path, const std::string& text) {
  GgufFile file = read_gguf(path);
  if (file.metadata.string(kArchitecture) == kTextArchitecture) {
    file.metadata.fail(kArchitecture, "is a text file, expected the vision file of " + escape(text) +
                                          " (got \"" + kTextArchitecture + "\", expected \"" +
                                          kVisionArchitecture + "\")");
  }
  check_vision_architecture(file.metadata);
  return file;
}

// [E, 3, P, P] twice -> [E, 3, 2, P, P].
Checkpoint::Entry join_slices(const Checkpoint::Entry& first, const Checkpoint::Entry& second,
                              Buffer* memory) {
  const auto fail = [&](const std::string& reason) {
    throw Error(ErrorCode::kModel, second.file, second.name, reason);
  };
  if (!first.view || info(first.view->dtype).block_elems != 1 || first.shape.rank() != 4) {
    fail("cannot be joined with " + first.name + ", a " + first.dtype + ' ' + first.shape.to_string());
  }
  if (first.dtype != second.dtype || first.shape != second.shape) {
    fail("differs from " + first.name + " (got " + second.dtype + ' ' + second.shape.to_string() +
         ", expected " + first.dtype + ' ' + first.shape.to_string() + ")");
  }
  const Shape& s = first.shape;
  const auto planes = static_cast<std::size_t>(s[0] * s[1]);
  const std::size_t plane_bytes = first.bytes.size() / planes;
  *memory = Buffer::allocate(2 * first.bytes.size());
  for (std::size_t i = 0; i < planes; ++i) {
    std::memcpy(memory->data() + 2 * i * plane_bytes, first.bytes.data() + i * plane_bytes, plane_bytes);
    std::memcpy(memory->data() + (2 * i + 1) * plane_bytes, second.bytes.data() + i * plane_bytes,
                plane_bytes);
  }
  Checkpoint::Entry joined = first;
  joined.name = kPatchEmbedding;
  joined.shape = Shape{s[0], s[1], 2, s[2], s[3]};
  joined.bytes = {memory->data(), memory->size()};
  joined.view = TensorView(first.view->dtype, joined.shape, memory->data());
  return joined;
}

// Gives the entries of one file their Hugging Face names and moves everything to `all`.
void append(Checkpoint::Parts file, GgufPart part, const Config& config, Checkpoint::Parts* all) {
  for (Checkpoint::Entry& entry : file.entries) {
    if (auto name = hugging_face_name({part, entry.name}, config, entry.file)) entry.name = std::move(*name);
    all->entries.push_back(std::move(entry));
  }
  std::move(file.memory.begin(), file.memory.end(), std::back_inserter(all->memory));
  std::move(file.warnings.begin(), file.warnings.end(), std::back_inserter(all->warnings));
}

// Replaces the slices, if there are any, by what they make together.
void join_patch_embedding(Checkpoint::Parts* file) {
  const auto at = [&](std::string_view name) {
    return std::find_if(file->entries.begin(), file->entries.end(),
                        [&](const Checkpoint::Entry& entry) { return entry.name == name; });
  };
  const auto first = at(kGgufPatchSlices[0]), second = at(kGgufPatchSlices[1]), none = file->entries.end();
  if (first == none && second == none) return;
  for (const auto& [slice, name] : {std::pair(first, kGgufPatchSlices[0]), {second, kGgufPatchSlices[1]}}) {
    if (slice == none) throw Error(ErrorCode::kModel, file->path, std::string(name), "missing");
  }
  *first = join_slices(*first, *second, &file->owned.emplace_back());
  file->entries.erase(second);
}

}  // namespace

bool is_gguf(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return fs::is_regular_file(path, ignored) || path.ends_with(".gguf");
  return !fs::exists(fs::path(path) / "config.json", ignored) && !list_gguf(path).empty();
}

GgufPair open_gguf_pair(const std::string& path, const std::string& mmproj) {
  std::error_code ignored;
  const std::string text_path = fs::is_directory(path, ignored) ? text_file_in(path, mmproj) : path;
  GgufFile text = open_text(text_path, mmproj);
  GgufFile vision = open_vision(mmproj.empty() ? vision_file_beside(text_path) : mmproj, text_path);
  return {std::move(text), std::move(vision)};
}

std::shared_ptr<const Checkpoint> gguf_checkpoint(GgufPair pair, const Config& config) {
  Checkpoint::Parts text = std::move(*pair.text.checkpoint).release();
  Checkpoint::Parts vision = std::move(*pair.vision.checkpoint).release();
  join_patch_embedding(&vision);
  Checkpoint::Parts all;
  all.path = text.path + " + " + vision.path;
  all.owned = std::move(vision.owned);
  append(std::move(text), GgufPart::kText, config, &all);
  append(std::move(vision), GgufPart::kVision, config, &all);
  return std::make_shared<const Checkpoint>(std::move(all));
}

}  // namespace tessera::qwen3vl
