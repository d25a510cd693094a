// The table of names, both ways. G29 is a row of reliability.md §3.2.
#include "models/qwen3vl/gguf_names.h"

#include <set>

#include "models/files/gguf.h"
#include "tests/golden.h"
#include "tests/models/files/expect_error.h"

namespace tessera::qwen3vl {
namespace {

using testing::shared_golden;

// 3 layers, 12 blocks, DeepStack after 2, 5, 11.
Config config() {
  Config config;
  config.text.num_hidden_layers = 3;
  config.vision.depth = 12;
  config.vision.deepstack_visual_indexes = {2, 5, 11};
  return config;
}

std::optional<std::string> to_gguf(const std::string& name) {
  const auto found = gguf_name(name, config());
  return found ? std::optional(found->name) : std::nullopt;
}

std::optional<std::string> to_hugging_face(const std::string& name, GgufPart part = GgufPart::kText) {
  return hugging_face_name({part, name}, config(), "m.gguf");
}

TEST(GgufNames, TheTableHoldsBothWays) {  // spec §9.2, §9.3
  const struct {
    const char *hugging_face, *gguf;
    GgufPart part;
  } pairs[] = {
      {"model.language_model.embed_tokens.weight", "token_embd.weight", GgufPart::kText},
      {"lm_head.weight", "output.weight", GgufPart::kText},
      {"model.language_model.layers.2.self_attn.o_proj.weight", "blk.2.attn_output.weight", GgufPart::kText},
      {"model.language_model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight",
       GgufPart::kText},
      {"model.visual.blocks.10.mlp.linear_fc1.bias", "v.blk.10.ffn_up.bias", GgufPart::kVision},
      {"model.visual.merger.norm.bias", "v.post_ln.bias", GgufPart::kVision},
      {"model.visual.merger.linear_fc2.weight", "mm.2.weight", GgufPart::kVision},
      {"model.visual.deepstack_merger_list.2.linear_fc1.weight", "v.deepstack.11.fc1.weight",
       GgufPart::kVision},
      {"model.visual.patch_embed.proj.weight", "v.patch_embd.weight", GgufPart::kVision},
      {"model.visual.patch_embed.proj.bias", "v.patch_embd.bias", GgufPart::kVision},
  };
  for (const auto& pair : pairs) {
    const auto gguf = gguf_name(pair.hugging_face, config());
    ASSERT_TRUE(gguf) << pair.hugging_face;
    EXPECT_EQ(gguf->name, pair.gguf);
    EXPECT_EQ(gguf->part, pair.part);
    EXPECT_EQ(to_hugging_face(pair.gguf, pair.part), pair.hugging_face);
    const GgufPart other = pair.part == GgufPart::kText ? GgufPart::kVision : GgufPart::kText;
    EXPECT_EQ(to_hugging_face(pair.gguf, other), std::nullopt) << "belongs to the other file";
  }
}

TEST(GgufNames, UnknownNamesHaveNone) {
  for (const char* name : {"", ".", "weight", "lm_head", "lm_head.scale", "model.visual.pos_embed",
                           "model.language_model.layers.0.self_attn.q_proj.weight.weight",
                           "model.language_model.layers.0.self_attn.rotary.inv_freq",
                           // numbers that are malformed or that the model does not have
                           "model.language_model.layers.3.self_attn.q_proj.weight",
                           "model.language_model.layers.00.self_attn.q_proj.weight",
                           "model.language_model.layers.-1.self_attn.q_proj.weight",
                           "model.language_model.layers..self_attn.q_proj.weight",
                           "model.visual.deepstack_merger_list.3.norm.weight"}) {
    EXPECT_EQ(to_gguf(name), std::nullopt) << name;
  }
  for (const char* name : {"rope_freqs.weight", "blk.0.attn_q.scale", "blk.0.ffn_gate_inp.weight", "output",
                           "token_embd.weight.1"}) {
    EXPECT_EQ(to_hugging_face(name), std::nullopt) << name;
  }
  EXPECT_EQ(to_hugging_face("v.patch_embd.weight.1", GgufPart::kVision), std::nullopt);
}

TEST(GgufNames, NumbersOfTensorsAreStrict) {  // G29
  for (const char* number : {"99999999999", "-1", "3", "+1", "01", "1a", "", " 1", "2147483648"}) {
    for (const char* rest : {".attn_q.weight", ".x"}) {
      const std::string name = std::string("blk.") + number + rest;
      EXPECT_TESSERA_ERROR(to_hugging_face(name), kModel, "m.gguf: " + name, "bad number",
                           std::string("got \"") + number + "\"", "expected 0 to 2");
    }
  }
  EXPECT_TESSERA_ERROR(to_hugging_face("v.blk.12.ln1.bias", GgufPart::kVision), kModel, "v.blk.12.ln1.bias",
                       "0 to 11");
  EXPECT_TESSERA_ERROR(to_hugging_face("v.deepstack.3.fc1.bias", GgufPart::kVision), kModel,
                       "v.deepstack.3.fc1.bias", "got \"3\"", "DeepStack");
  EXPECT_TESSERA_ERROR(to_hugging_face("blk.7"), kModel, "blk.7", "0 to 2");
}

// Every tensor of a checkpoint has its place in the pair that llama.cpp's converter made of it, and back.
TEST(GgufNames, ConvertersFilesAndTheirCheckpointsHaveTheSameTensors) {
  TESSERA_REQUIRE_SHARED("gguf");
  const std::string folder = shared_golden("checkpoints/dense");
  const Config dense = config_from_folder(folder);
  const auto checkpoint = open_checkpoint(folder);
  std::set<std::string> expected{std::string(kGgufPatchSlices[1])};
  for (const auto& entry : checkpoint->entries()) {
    const auto name = gguf_name(entry.name, dense);
    ASSERT_TRUE(name) << entry.name;
    expected.insert(name->name);
    EXPECT_EQ(hugging_face_name(*name, dense, ""), entry.name);
  }
  std::set<std::string> actual;
  for (const char* file : {"gguf/dense-bf16.gguf", "gguf/mmproj-dense-f16.gguf"}) {
    const GgufFile gguf = read_gguf(shared_golden(file));
    for (const auto& entry : gguf.checkpoint->entries()) actual.insert(entry.name);
  }
  EXPECT_EQ(actual, expected);
}

}  // namespace
}  // namespace tessera::qwen3vl
