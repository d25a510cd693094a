// Recipe: which format each weight of a model gets in a quantized file, or when it is quantized while it is
// loaded. The only place that knows.
//
//   tensor                                        format
//   one dimension (norms, biases), pos_embed      f32
//   patch_embed                                   f16 for a vision type f16, else f32 (never in blocks)
//   other matrices of the tower                   the vision type
//   embed_tokens, lm_head                         the float type; q8_0; q6_k for q4_0 and q4_1;
//                                                 the type itself for q4_k, q5_k and q6_k;
//                                                 mixes: q6_k for the head (or the tied table), else the base
//   v_proj, down_proj in mixes                    more bits in some layers, below
//   other matrices of the text model              the type, of a mix its base
//
// A row that is no whole number of blocks takes quant::fitting_format. Mixes, with layer i of n, as llama.cpp
// 3f545becc makes them (src/llama-quant.cpp):
//
//   q4_k_m, q5_k_m   q6_k in v_proj and down_proj where i < n/8, i >= 7n/8 or (i - n/8) % 3 == 2
//   q4_k_s           q5_k in v_proj where i < 4, in down_proj where i < n/8
//   q5_k_s           nothing
//
// Where a token table is not tied llama.cpp keeps it in q4_0 and q4_1; here it is q6_k, as the head.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tensor/api.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace tessera::qwen3vl {

// What a format depends on besides the tensor.
struct RecipeModel {
  std::int64_t layers = 0;  // of the text model
  bool own_head = false;    // lm_head.weight exists
};

class TESSERA_API Recipe {
 public:
  // Names of types: f32 (fp32), f16 (fp16), bf16, q8_0 (int8), q4_0 (int4), q4_1, q4_k, q5_k, q6_k; for text
  // also the mixes above. No vision type: that of a float text type, q8_0 for all others.
  // Throws Error{kUsage} for an unknown name and for a mix as vision type, kUnsupported for a format that is
  // only read (q5_0, q5_1).
  explicit Recipe(std::string_view text_type, std::string_view vision_type = {});

  // name: the canonical Hugging Face name (spec/qwen3-vl.md 2); shape as in the checkpoint.
  DType dtype_of(std::string_view name, const Shape& shape, const RecipeModel& model) const;

  // general.file_type of GGUF files (spec/qwen3-vl.md 9.1); a K type without _s or _m counts as _s.
  std::uint32_t text_file_type() const;
  std::uint32_t vision_file_type() const;
  // "Q4_K_M", "BF16": for names of files.
  std::string text_label() const;
  std::string vision_label() const;
  // Whether any weight becomes blocks.
  bool text_in_blocks() const;
  bool vision_in_blocks() const;

 private:
  enum class Mix : std::uint8_t { kNone, kSmall, kMedium };

  DType text_matrix(std::string_view name, const RecipeModel& model) const;

  DType text_ = DType::kF32, vision_ = DType::kF32;
  Mix mix_ = Mix::kNone;
};

}  // namespace tessera::qwen3vl
