#include "bench/synthetic_folder.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <vector>

#include "bench/random_fill.h"
#include "bench/synthetic.h"
#include "models/files/partial_file.h"
#include "models/text/pre_tokenizer.h"
#include "tensor/buffer.h"
#include "tensor/error.h"

namespace tessera::bench {
namespace {

using Json = nlohmann::ordered_json;
using qwen3vl::Config;

constexpr std::int64_t kRandomValues = 4194301;  // the largest prime below 2^22, so that rows differ

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw Error(ErrorCode::kOutput, path, "", reason);
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

const char* torch_name(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

const char* safetensors_name(DType dtype) {
  return dtype == DType::kF32 ? "F32" : dtype == DType::kF16 ? "F16" : "BF16";
}

// config.json and its neighbours: the keys and values of the published folders (spec/qwen3-vl.md §1, §3.1,
// §8.7).

Json text_config(const Config& config, DType dtype) {
  const qwen3vl::TextConfig& c = config.text;
  return {{"model_type", "qwen3_vl_text"},
          {"dtype", torch_name(dtype)},
          {"vocab_size", c.vocab_size},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_hidden_layers", c.num_hidden_layers},
          {"num_attention_heads", c.num_attention_heads},
          {"num_key_value_heads", c.num_key_value_heads},
          {"head_dim", c.head_dim},
          {"hidden_act", "silu"},
          {"attention_bias", false},
          {"attention_dropout", 0.0},
          {"max_position_embeddings", c.max_position_embeddings},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", static_cast<std::int64_t>(c.rope_theta)},
          {"rope_scaling",
           {{"rope_type", "default"},
            {"mrope_interleaved", c.mrope_interleaved},
            {"mrope_section", c.mrope_section}}},
          {"bos_token_id", first_control_id(c)},
          {"eos_token_id", config.eos_token_ids.front()},
          {"tie_word_embeddings", config.tie_word_embeddings},
          {"use_cache", true}};
}

Json vision_config(const Config& config) {
  const qwen3vl::VisionConfig& c = config.vision;
  return {{"model_type", "qwen3_vl"},
          {"depth", c.depth},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_heads", c.num_heads},
          {"in_channels", c.in_channels},
          {"patch_size", c.patch_size},
          {"temporal_patch_size", c.temporal_patch_size},
          {"spatial_merge_size", c.spatial_merge_size},
          {"out_hidden_size", c.out_hidden_size},
          {"num_position_embeddings", c.num_position_embeddings},
          {"hidden_act", "gelu_pytorch_tanh"},
          {"deepstack_visual_indexes", c.deepstack_visual_indexes}};
}

Json model_config(const Config& config, DType dtype) {
  return {{"architectures", {"Qwen3VLForConditionalGeneration"}},
          {"model_type", "qwen3_vl"},
          {"dtype", torch_name(dtype)},
          {"image_token_id", config.image_token_id},
          {"video_token_id", config.video_token_id},
          {"vision_start_token_id", config.vision_start_token_id},
          {"vision_end_token_id", config.vision_end_token_id},
          {"tie_word_embeddings", config.tie_word_embeddings},
          {"text_config", text_config(config, dtype)},
          {"vision_config", vision_config(config)}};
}

Json generation_config(const Config& config) {
  const std::int32_t end_of_text = first_control_id(config.text);
  return {{"bos_token_id", end_of_text},
          {"pad_token_id", end_of_text},
          {"eos_token_id", {config.eos_token_ids.front(), end_of_text}},
          {"do_sample", true},
          {"temperature", 0.7},
          {"top_k", 20},
          {"top_p", 0.8},
          {"repetition_penalty", 1.0}};
}

Json preprocessor_config(const Config& config) {
  const Json half = {0.5, 0.5, 0.5};
  return {{"size", {{"longest_edge", 16777216}, {"shortest_edge", 65536}}},
          {"patch_size", config.vision.patch_size},
          {"temporal_patch_size", config.vision.temporal_patch_size},
          {"merge_size", config.vision.spatial_merge_size},
          {"image_mean", half},
          {"image_std", half},
          {"processor_class", "Qwen3VLProcessor"},
          {"image_processor_type", "Qwen2VLImageProcessorFast"}};
}

// A byte in the alphabet of byte-level BPE (models/text/bpe.h): itself as a code point where it is printable,
// else one from U+0100 on.
std::string spelt(int code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

Json byte_vocabulary() {
  const auto printable = [](int b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  Json vocabulary = Json::object();
  int id = 0;
  for (int b = 0; b < 256; ++b) {
    if (printable(b)) vocabulary[spelt(b)] = id++;
  }
  for (int b = 0, next = 0x100; b < 256; ++b) {
    if (!printable(b)) vocabulary[spelt(next++)] = id++;
  }
  return vocabulary;
}

Json tokenizer(const Config& config) {
  Json added = Json::array();
  for (int i = 0; i < static_cast<int>(std::size(kControls)); ++i) {
    added.push_back({{"id", first_control_id(config.text) + i},
                     {"content", kControls[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", i < kSpecialControls}});
  }
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kQwenPattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}}},
          {"post_processor", byte_level},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", byte_vocabulary()},
            {"merges", Json::array()}}}};
}

// Tensors of one file, in order.
struct Shard {
  std::vector<SyntheticTensor> tensors;
  std::uint64_t bytes = 0;
};

std::uint64_t bytes_of(const SyntheticTensor& tensor, DType dtype) {
  return static_cast<std::uint64_t>(dense_bytes(dtype, tensor.shape));
}

std::vector<Shard> shards_of(const Config& config, const FolderOptions& options) {
  std::vector<Shard> shards(1);
  for (SyntheticTensor& tensor : synthetic_tensors(config)) {
    const std::uint64_t bytes = bytes_of(tensor, options.dtype);
    if (shards.back().bytes > 0 && shards.back().bytes + bytes > options.shard_bytes) shards.emplace_back();
    shards.back().bytes += bytes;
    shards.back().tensors.push_back(std::move(tensor));
  }
  return shards;
}

std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return "model.safetensors";
  const auto five = [](std::size_t n) {
    const std::string digits = std::to_string(n);
    return std::string(5 - std::min<std::size_t>(5, digits.size()), '0') + digits;
  };
  return "model-" + five(index + 1) + "-of-" + five(count) + ".safetensors";
}

// The header with its length in front (models/files/safetensors.h).
std::string header_of(const Shard& shard, DType dtype) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::uint64_t at = 0;
  for (const SyntheticTensor& tensor : shard.tensors) {
    const std::uint64_t end = at + bytes_of(tensor, dtype);
    header[tensor.name] = {
        {"dtype", safetensors_name(dtype)}, {"shape", tensor.shape.dims()}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(text.size() >> 8 * i);
  return length + text;
}

Json index_of(const std::vector<Shard>& shards) {
  Json map = Json::object();
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    total += shards[i].bytes;
    for (const SyntheticTensor& tensor : shards[i].tensors) map[tensor.name] = shard_name(i, shards.size());
  }
  return {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
}

// The folder while it is written. Unless it is kept, its destructor removes what was written.
class Folder {
 public:
  Folder(const std::string& path, std::uint64_t bytes) : path_(path) {
    std::error_code error;
    created_ = std::filesystem::create_directory(path, error);
    if (error) fail(path, "cannot be made: " + error.message());
    const bool empty = std::filesystem::is_empty(path, error);
    if (error) fail(path, "cannot be read: " + error.message());
    if (!empty) fail(path, "is not empty");
    const auto space = std::filesystem::space(path, error);
    if (error) fail(path, "cannot be asked for free space: " + error.message());
    if (space.available < bytes) {
      remove();
      fail(path, "too little free space (got " + std::to_string(space.available >> 20) + " MiB, expected " +
                     std::to_string((bytes >> 20) + 1) + " MiB)");
    }
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    if (!kept_) remove();
  }

  PartialFile begin(const std::string& name) const { return {join(name), IfExists::kRefuse}; }
  void end(PartialFile& file) {
    file.commit();
    written_.push_back(file.path());
  }
  void write(const std::string& name, const Json& json) {
    PartialFile file = begin(name);
    file.append(bytes_of(json.dump(2) + "\n"));
    end(file);
  }
  void keep() { kept_ = true; }

 private:
  std::string join(const std::string& name) const { return (std::filesystem::path(path_) / name).string(); }
  void remove() noexcept {
    std::error_code ignored;
    for (const std::string& file : written_) std::filesystem::remove(file, ignored);
    if (created_) std::filesystem::remove(path_, ignored);
  }

  std::string path_;
  std::vector<std::string> written_;
  bool created_ = false, kept_ = false;
};

// The values of all tensors: matrices are one random stream that repeats, vectors are ones.
class Values {
 public:
  Values(const std::vector<Shard>& shards, DType dtype) : dtype_(dtype) {
    std::int64_t longest = 1;
    for (const Shard& shard : shards) {
      for (const SyntheticTensor& tensor : shard.tensors) {
        if (tensor.is_vector()) longest = std::max(longest, tensor.shape.elements());
      }
    }
    ones_ = filled(longest);
    fill_ones({dtype, {longest}, ones_.data()});
    random_ = filled(kRandomValues);
    RandomFill().normal({dtype, {kRandomValues}, random_.data()}, kDeviation);
  }

  void append(const SyntheticTensor& tensor, PartialFile& file) {
    auto rest = static_cast<std::size_t>(dense_bytes(dtype_, tensor.shape));
    if (tensor.is_vector()) return file.append({ones_.data(), rest});
    while (rest > 0) {
      const std::size_t part = std::min(rest, random_.size() - at_);
      file.append({random_.data() + at_, part});
      at_ = (at_ + part) % random_.size();
      rest -= part;
    }
  }

 private:
  Buffer filled(std::int64_t count) const {
    return Buffer::allocate(static_cast<std::size_t>(dense_bytes(dtype_, {count})));
  }

  DType dtype_;
  Buffer ones_, random_;
  std::size_t at_ = 0;
};

}  // namespace

void write_synthetic_folder(const std::string& path, const Config& config, const FolderOptions& options) {
  const std::vector<Shard> shards = shards_of(config, options);
  std::uint64_t bytes = std::uint64_t{1} << 20;  // for the small files
  for (const Shard& shard : shards) bytes += header_of(shard, options.dtype).size() + shard.bytes;

  Folder folder(path, bytes);
  Values values(shards, options.dtype);
  for (std::size_t i = 0; i < shards.size(); ++i) {
    PartialFile file = folder.begin(shard_name(i, shards.size()));
    file.append(bytes_of(header_of(shards[i], options.dtype)));
    for (const SyntheticTensor& tensor : shards[i].tensors) values.append(tensor, file);
    folder.end(file);
  }
  if (shards.size() > 1) folder.write("model.safetensors.index.json", index_of(shards));
  folder.write("generation_config.json", generation_config(config));
  folder.write("preprocessor_config.json", preprocessor_config(config));
  folder.write("tokenizer.json", tokenizer(config));
  folder.write("config.json", model_config(config, options.dtype));
  folder.keep();
}

}  // namespace tessera::bench
