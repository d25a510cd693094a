// GGUF files of shared/golden/gguf (llama.cpp's converter), as they are and with something changed.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/files/gguf.h"
#include "models/files/gguf_writer.h"
#include "tests/golden.h"
#include "tests/models/files/temp_dir.h"

namespace tessera::testing {

inline std::string shared_gguf(const std::string& name) { return shared_golden("gguf/" + name); }

// A file that is about to be written: keys, and tensors by name.
struct EditedGguf {
  GgufMetadata metadata;
  struct Tensor {
    std::string name;
    DType dtype;
    Shape shape;
    std::span<const std::byte> bytes;
  };
  std::vector<Tensor> tensors;

  Tensor& at(const std::string& name) {
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](auto& t) { return t.name == name; });
    if (found == tensors.end()) throw std::out_of_range(name);
    return *found;
  }
  void erase(const std::string& name) {
    std::erase_if(tensors, [&](const Tensor& t) { return t.name == name; });
  }
};

// Writes `source` to `target` after `edit`; returns `target`.
inline std::string edit_gguf(const std::string& source, const std::string& target,
                             const std::function<void(EditedGguf&)>& edit) {
  const GgufFile file = read_gguf(source);
  EditedGguf edited{file.metadata, {}};
  for (const Checkpoint::Entry& entry : file.checkpoint->entries()) {
    edited.tensors.push_back({entry.name, entry.view->dtype, entry.shape, entry.bytes});
  }
  edit(edited);
  std::vector<GgufTensor> tensors;
  for (const auto& tensor : edited.tensors) tensors.push_back({tensor.name, tensor.dtype, tensor.shape});
  GgufWriter writer(target, {.if_exists = IfExists::kReplace, .inputs = {}});
  writer.begin(edited.metadata, tensors);
  for (const auto& tensor : edited.tensors) writer.append(tensor.bytes);
  writer.finish();
  return target;
}

// A folder with the pair of `dense`, one or both files changed.
struct DensePair {
  TempDir dir;
  std::string text = dir / "dense.gguf", vision = dir / "mmproj-dense.gguf";

  explicit DensePair(const std::function<void(EditedGguf&)>& edit_text = {},
                     const std::function<void(EditedGguf&)>& edit_vision = {}) {
    const auto nothing = [](EditedGguf&) {};
    edit_gguf(shared_gguf("dense-bf16.gguf"), text, edit_text ? edit_text : nothing);
    edit_gguf(shared_gguf("mmproj-dense-f16.gguf"), vision, edit_vision ? edit_vision : nothing);
  }
};

}  // namespace tessera::testing
