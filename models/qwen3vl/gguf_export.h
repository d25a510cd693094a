// What a model's two GGUF files hold: keys, values and tensors as spec/qwen3-vl.md §9.2 and §9.3 and
// llama.cpp's converter (3f545becc) write them, and what makes the pair complete without the folder.
//
// Beside llama.cpp's keys:
//   tokenizer.ggml.eos_token_ids               i32 array: every token that ends an answer
//   general.sampling.min_p, .penalty_repeat    f32, where they change anything
//   clip.vision.image_min_pixels, _max_pixels  u32: areas that a picture is scaled to
//   clip.vision.temporal_patch_size            u32
// A model that generates greedily by default has general.sampling.temp = 0 and no other of these keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/gguf_metadata.h"
#include "models/files/gguf_writer.h"
#include "models/qwen3vl/gguf_names.h"
#include "models/qwen3vl/model_files.h"
#include "models/qwen3vl/recipe.h"

namespace tessera::qwen3vl {

struct GgufExport {
  struct Item {
    GgufTensor target;
    std::string source;        // canonical Hugging Face name
    TensorView view;           // of the checkpoint, perhaps unaligned
    std::optional<int> frame;  // of the patch convolution [E, 3, 2, P, P]: 0 or 1
  };

  GgufMetadata metadata;
  std::vector<Item> items;  // in the order of the model
};

// Throws Error{kModel} for missing and misshapen tensors, as loading does; kUnsupported for what these files
// cannot say: rotary frequencies in runs (mrope_interleaved false), numbers beyond 32 bits.
GgufExport export_gguf(const ModelFiles& files, const Recipe& recipe, GgufPart part);

// general.name: the words of a folder's name, "shapes-vl" gives "Shapes Vl".
std::string title_of(std::string_view name);
// general.size_label: "3.3M", "850K", "4.0B".
std::string size_label(std::int64_t parameters);

}  // namespace tessera::qwen3vl
