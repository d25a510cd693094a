// tessera-inspect: what is in a model folder or a weight file, and what this machine can run.
// `tessera-inspect --help` says how.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "examples/common/arguments.h"
#include "examples/common/json_text.h"
#include "examples/common/program.h"
#include "examples/common/progress_line.h"
#include "examples/common/signals.h"
#include "models/files/checkpoint.h"
#include "models/files/gguf.h"
#include "models/files/verify.h"
#include "models/qwen3vl/model_files.h"
#include "models/text/chat.h"
#include "models/text/gguf_text.h"
#include "models/text/tokenizer.h"
#include "ops/kernel_table.h"
#include "tensor/cpu.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace tessera::programs {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string path, mmproj, tokenize;
  bool tensors = false, verify = false, kernels = false, cpu = false, json = false;
};

Options parse_options(int argc, const char* const* argv) {
  Options o;
  CLI::App app("Says what is in a model, and what this machine can run.", "tessera-inspect");
  app.set_version_flag("--version", "tessera-inspect (tessera) " TESSERA_VERSION);
  app.get_formatter()->column_width(36);
  app.add_option("PATH", o.path,
                 "Hugging Face folder, folder with a GGUF pair, GGUF or safetensors file;\n"
                 "not needed for --cpu and --kernels")
      ->type_name("");
  app.add_option("--mmproj", o.mmproj, "vision file: what is in it and PATH together")->type_name("FILE");
  app.add_flag("--tensors", o.tensors, "every tensor: name, type, shape, bytes");
  app.add_flag("--verify", o.verify,
               "read everything: the hashes that tessera-quantize stored, and whether\n"
               "every weight is a number");
  app.add_flag("--kernels", o.kernels, "every kernel of this build, best first");
  app.add_flag("--cpu", o.cpu, "instruction sets that this machine offers");
  app.add_flag("--json", o.json, "one JSON object instead of text");
  app.add_option("--tokenize", o.tokenize,
                 "for each line, a JSON string or {\"text\": …}, one line\n"
                 "{\"ids\": […], \"ids_as_user_text\": […]}: with the texts of special\n"
                 "tokens standing for these, and as plain characters")
      ->type_name("FILE.jsonl");
  app.footer(
      "Without --tensors, --verify, --kernels, --cpu and --tokenize: a summary of the model, or of a GGUF "
      "file and "
      "its\n"
      "metadata.");
  parse_arguments(app, argc, argv);
  if (o.path.empty() && (o.tensors || o.verify || !o.tokenize.empty() || !(o.kernels || o.cpu)))
    throw Error(ErrorCode::kUsage, "", "PATH", "missing; see --help");
  return o;
}

Json cpu_json() {
  const Cpu cpu = Cpu::from_environment();
  Json levels = Json::array();
  for (const IsaLevelInfo& level : isa_levels()) {
    levels.push_back({{"level", level.name}, {"meaning", level.meaning}, {"usable", cpu.has(level.level)}});
  }
  return {{"brand", cpu.brand()},
          {"best", name(cpu.best())},
          {"threads", available_threads()},
          {"levels", levels}};
}

Json kernels_json() {
  Json kernels = Json::array();
  for (const ops::KernelListing& kernel : ops::kernel_table())
    kernels.push_back({{"op", kernel.op}, {"kernel", kernel.kernel}, {"level", name(kernel.level)}});
  return kernels;
}

Json tensors_json(const Checkpoint& checkpoint) {
  Json tensors = Json::array();
  for (const Checkpoint::Entry& entry : checkpoint.entries()) {
    tensors.push_back(
        {{"name", entry.name},
         {"dtype", entry.dtype},
         {"shape", std::vector<std::int64_t>(entry.shape.dims().begin(), entry.shape.dims().end())},
         {"bytes", entry.bytes.size()},
         {"file", std::filesystem::path(entry.file).filename().string()}});
  }
  return tensors;
}

Json weights_json(const Checkpoint& checkpoint) {
  std::map<std::string, std::pair<std::int64_t, std::size_t>> dtypes;  // tensors, bytes
  std::map<std::string, int> files;
  std::size_t bytes = 0;
  std::int64_t parameters = 0;
  for (const Checkpoint::Entry& entry : checkpoint.entries()) {
    auto& [count, size] = dtypes[entry.dtype];
    ++count;
    size += entry.bytes.size();
    bytes += entry.bytes.size();
    parameters += entry.shape.elements();
    ++files[entry.file];
  }
  Json out = {{"tensors", checkpoint.entries().size()},
              {"files", files.size()},
              {"parameters", parameters},
              {"bytes", bytes}};
  for (const auto& [dtype, sum] : dtypes) out[dtype] = {{"tensors", sum.first}, {"bytes", sum.second}};
  return out;
}

Json config_json(const qwen3vl::Config& config) {
  const qwen3vl::TextConfig& t = config.text;
  const qwen3vl::VisionConfig& v = config.vision;
  return {{"architecture", "Qwen3-VL"},
          {"text",
           {{"layers", t.num_hidden_layers},
            {"hidden_size", t.hidden_size},
            {"intermediate_size", t.intermediate_size},
            {"heads", t.num_attention_heads},
            {"key_value_heads", t.num_key_value_heads},
            {"head_dim", t.head_dim},
            {"vocabulary", t.vocab_size},
            {"context", t.max_position_embeddings},
            {"tied_embeddings", config.tie_word_embeddings}}},
          {"vision",
           {{"blocks", v.depth},
            {"hidden_size", v.hidden_size},
            {"intermediate_size", v.intermediate_size},
            {"heads", v.num_heads},
            {"patch_size", v.patch_size},
            {"merge_size", v.spatial_merge_size},
            {"deepstack_after_blocks", v.deepstack_visual_indexes}}}};
}

bool is_gguf_file(const std::string& path) {
  std::error_code error;
  if (path.ends_with(".gguf")) return true;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  std::string magic(4, '\0');
  return std::ifstream(path, std::ios::binary).read(magic.data(), 4) && magic == "GGUF";
}

// A folder without config.json may hold a GGUF pair; two files are one.
bool is_gguf_pair(const Options& o) {
  namespace fs = std::filesystem;
  if (!o.mmproj.empty()) return true;
  std::error_code error;
  if (!fs::is_directory(o.path, error) || fs::exists(fs::path(o.path) / "config.json", error)) return false;
  const fs::directory_iterator files(o.path, error);
  return std::any_of(begin(files), end(files), [](const auto& f) { return f.path().extension() == ".gguf"; });
}

std::string chat_layout(const std::optional<std::string>& text) {
  if (!text) return "instruct (no template)";
  const ChatTemplate found = recognise_chat_template(*text);
  if (!found.warning.empty()) warn(found.warning);
  return found.layout == ChatLayout::kThinking ? "thinking" : "instruct";
}

Json weights_with_warnings(const Checkpoint& checkpoint) {
  for (const std::string& text : checkpoint.warnings()) warn(text);
  return weights_json(checkpoint);
}

Json pair_json(const Options& o) {
  const qwen3vl::ModelFiles files = qwen3vl::open_model_files(o.path, o.mmproj);
  Json out = {{"path", files.path}, {"mmproj", files.mmproj}};
  out.update(config_json(files.config));
  out["weights"] = weights_with_warnings(*files.checkpoint);
  out["tokenizer"] = {{"tokens", Tokenizer(files.tokenizer).vocab_size()}};
  out["chat"] = chat_layout(files.chat_template);
  return out;
}

Json gguf_file_json(const std::string& path) {
  const GgufFile file = read_gguf(path);
  Json metadata = Json::object();
  for (const GgufMetadata::Item& item : file.metadata.items()) {
    metadata[escape(item.key)] = item.value.describe();
  }
  return {{"path", path}, {"weights", weights_with_warnings(*file.checkpoint)}, {"metadata", metadata}};
}

Json folder_or_safetensors_json(const std::string& path) {
  Json out = {{"path", path}};
  const bool folder = std::filesystem::is_directory(path);
  if (folder) {
    try {
      out.update(config_json(qwen3vl::config_from_folder(path)));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      out["architecture"] = "not supported";
      out["reason"] = error.what();
    }
  }
  out["weights"] = weights_with_warnings(*open_checkpoint(path));
  if (folder) {
    out["tokenizer"] = {{"tokens", Tokenizer::from_folder(path).vocab_size()}};
    out["chat"] = chat_layout(read_chat_template(path));
  }
  return out;
}

Json summary_json(const Options& o) {
  Json out = is_gguf_pair(o)        ? pair_json(o)
             : is_gguf_file(o.path) ? gguf_file_json(o.path)
                                    : folder_or_safetensors_json(o.path);
  out["cpu"] = name(Cpu::from_environment().best());
  return out;
}

// As the files name them.
Json all_tensors_json(const Options& o) {
  if (is_gguf_pair(o)) {
    const qwen3vl::ModelFiles files = qwen3vl::open_model_files(o.path, o.mmproj);
    Json tensors = tensors_json(*read_gguf(files.path).checkpoint);
    for (const Json& tensor : tensors_json(*read_gguf(files.mmproj).checkpoint)) tensors.push_back(tensor);
    return tensors;
  }
  return tensors_json(is_gguf_file(o.path) ? *read_gguf(o.path).checkpoint : *open_checkpoint(o.path));
}

std::string hashes_text(GgufHashes hashes) {
  if (hashes == GgufHashes::kRight) return "right";
  return hashes == GgufHashes::kNone ? "none stored" : "of other tensors: another tool rewrote the file";
}

// Throws for the first damaged tensor.
Json verify_json(const Options& o) {
  VerifyRun run;
  run.threads = available_threads();
  std::size_t done = 0;
  ProgressLine line;
  run.progress = [&](std::size_t bytes) {
    done += bytes;
    line.show("verifying " + std::to_string(done / 1'000'000) + " MB");
  };
  std::vector<std::string> paths{o.path};
  if (is_gguf_pair(o)) {
    const qwen3vl::ModelFiles files = qwen3vl::open_model_files(o.path, o.mmproj);
    paths = {files.path, files.mmproj};
  }
  Json out = Json::array();
  for (const std::string& path : paths) {
    Json row = {{"file", path}, {"hashes", hashes_text(GgufHashes::kNone)}, {"numbers", "finite"}};
    if (is_gguf_pair(o) || is_gguf_file(path)) {
      const GgufFile file = read_gguf(path);
      row["hashes"] = hashes_text(verify_gguf_hashes(file, run));
      verify_numbers(*file.checkpoint, run);
    } else {
      verify_numbers(*open_checkpoint(path), run);
    }
    out.push_back(row);
  }
  return out;
}

Tokenizer open_tokenizer(const Options& o) {
  if (is_gguf_pair(o)) return Tokenizer(qwen3vl::open_model_files(o.path, o.mmproj).tokenizer);
  return is_gguf_file(o.path) ? Tokenizer(tokenizer_parts_from_gguf(read_gguf(o.path).metadata))
                              : Tokenizer::from_folder(o.path);
}

// "a.b  value" lines, one for each scalar or list.
void print_flat(const Json& value, const std::string& prefix) {
  for (const auto& [key, member] : value.items()) {
    const std::string path = prefix.empty() ? key : prefix + "." + key;
    if (member.is_object()) {
      print_flat(member, path);
    } else {
      std::string line = path + std::string(path.size() < 32 ? 32 - path.size() : 1, ' ');
      print(line + (member.is_string() ? escape(member.get<std::string>()) : member.dump()) + "\n");
    }
  }
}

// A table with a column for each key of the first object.
void print_table(const Json& rows) {
  std::vector<std::vector<std::string>> cells;
  std::vector<std::size_t> width;
  for (const Json& row : rows) {
    auto& line = cells.emplace_back();
    for (const auto& [key, cell] : row.items()) {
      line.push_back(cell.is_string() ? escape(cell.get<std::string>()) : cell.dump());
      if (line.size() > width.size()) width.push_back(0);
      width[line.size() - 1] = std::max(width[line.size() - 1], line.back().size());
    }
  }
  std::string text;
  for (const auto& line : cells) {
    for (std::size_t i = 0; i < line.size(); ++i)
      text += line[i] + (i + 1 < line.size() ? std::string(width[i] - line[i].size() + 2, ' ') : "\n");
  }
  print(text);
}

void print_text(const Json& report) {
  for (const auto& [section, value] : report.items()) {
    if (report.size() > 1) print(section + ":\n");
    if (value.is_array()) {
      print_table(value);
    } else if (value.contains("levels")) {
      Json head = value;
      head.erase("levels");
      print_flat(head, "");
      print_table(value["levels"]);
    } else {
      print_flat(value, "");
    }
  }
}

// The text of one line of --tokenize.
std::string line_text(const std::string& line, const std::string& file, std::size_t number) {
  constexpr int kMaxDepth = 4;
  const auto value = parse_json_text(line, kMaxDepth);
  if (value && value->is_string()) return value->get<std::string>();
  if (value && value->is_object() && value->contains("text") && value->at("text").is_string())
    return value->at("text").get<std::string>();
  throw Error(ErrorCode::kInput, file, "line " + std::to_string(number),
              "no JSON string and no {\"text\": string}");
}

void tokenize(const Tokenizer& tokenizer, const std::string& file) {
  constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30;
  const std::string content = read_input_file(file, kMaxFileBytes);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    const std::string text = line_text(content.substr(begin, end - begin), file, ++number);
    const Json ids = {{"ids", tokenizer.encode(text, SpecialTokens::kParse)},
                      {"ids_as_user_text", tokenizer.encode(text, SpecialTokens::kAsText)}};
    print(ids.dump() + "\n");
    begin = end + 1;
  }
}

int run(int argc, const char* const* argv) {
  const Options o = parse_options(argc, argv);
  install_signal_handlers(o.path);
  if (!o.tokenize.empty()) {
    tokenize(open_tokenizer(o), o.tokenize);
    return 0;
  }
  Json report = Json::object();
  if (!o.tensors && !o.verify && !o.kernels && !o.cpu) report["model"] = summary_json(o);
  if (o.tensors) report["tensors"] = all_tensors_json(o);
  if (o.verify) report["verify"] = verify_json(o);
  if (o.kernels) report["kernels"] = kernels_json();
  if (o.cpu) report["cpu"] = cpu_json();
  if (o.json) {
    print(report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print_text(report);
  }
  return 0;
}

}  // namespace
}  // namespace tessera::programs

int main(int argc, char** argv) {
  return tessera::programs::run_program([&] { return tessera::programs::run(argc, argv); });
}
