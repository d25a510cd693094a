#include "examples/tessera_quantize/options.h"

#include <string_view>

#include "examples/common/arguments.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

constexpr char kDescription[] =
    "Writes a Qwen3-VL model as two GGUF files that llama.cpp and tessera read:\n"
    "OUT_DIR/NAME-TYPE.gguf and OUT_DIR/mmproj-NAME-TYPE.gguf, NAME that of the input.";

constexpr char kFooter[] =
    "Precisions and types: fp32 = f32, fp16 = f16, bf16, int8 = q8_0, int4 = q4_0 (embedding and head "
    "q6_k),\n"
    "q4_1, q4_k, q5_k, q6_k, and llama.cpp's mixes q4_k_s, q4_k_m, q5_k_s, q5_k_m.\n"
    "\n"
    "The errors of every tensor go to standard output, everything else to standard error.\n"
    "\n"
    "Exit status: 0 success, 1 internal error, 2 wrong command line, 3 model missing or damaged,\n"
    "4 model or type not supported, 5 calibration data rejected, 6 out of memory, 7 output not written,\n"
    "130 and 143 stopped by SIGINT and SIGTERM. Files are complete or not there, whatever it is.\n";

[[noreturn]] void refuse(const std::string& flag, const std::string& reason) {
  throw Error(ErrorCode::kUsage, "", flag, reason);
}

struct Extra {
  std::string precision, type, vision_type;
  bool skip_text = false, skip_vision = false;
  std::optional<std::int64_t> threads;
};

void add_options(CLI::App& app, QuantizeOptions& o, Extra& extra) {
  app.add_option("-i,--input", o.input, "Hugging Face folder, GGUF file, or folder with a GGUF pair")
      ->type_name("PATH")
      ->required();
  app.add_option("--mmproj", o.mmproj, "vision file of a GGUF pair [the mmproj*.gguf beside the input]")
      ->type_name("FILE");
  app.add_option("-o,--output", o.output_folder, "folder for the files; made if only it is missing")
      ->type_name("OUT_DIR")
      ->required();
  app.add_option("-p,--precision", extra.precision, "fp32, fp16, bf16, int8 or int4")->type_name("NAME");
  app.add_option("--type", extra.type, "type of the text model's matrices, in place of -p")
      ->type_name("NAME");
  app.add_option(
         "--vision-type", extra.vision_type,
         "type of the vision tower's matrices [that of the text\nmodel if it is a float type, else q8_0]")
      ->type_name("NAME");
  app.add_flag("--skip-text", extra.skip_text, "write the mmproj file only");
  app.add_flag("--skip-vision", extra.skip_vision, "write the text file only");
  app.add_flag("--force", o.force, "replace files that exist");
  app.add_option("--calibrate", o.calibrate,
                 "text, or .jsonl with questions about pictures: what the model sees\n"
                 "there decides which columns are rounded most carefully")
      ->type_name("FILE");
  app.add_option("--report", o.report, "write the errors of every tensor")->type_name("FILE.json");
  add_threads(app, extra.threads);
}

// The same names as flags say them: a precision is one of five.
void check_precision(const std::string& name) {
  for (const std::string_view known : {"fp32", "fp16", "bf16", "int8", "int4"}) {
    if (name == known) return;
  }
  refuse("-p",
         "unknown (got \"" + escape(name, 60) + "\", expected fp32, fp16, bf16, int8 or int4; see --type)");
}

}  // namespace

QuantizeOptions parse_quantize_options(int argc, const char* const* argv) {
  QuantizeOptions o{.input = {}, .mmproj = {}, .output_folder = {}, .recipe = qwen3vl::Recipe("bf16")};
  Extra extra;
  CLI::App app(kDescription, "tessera-quantize");
  app.set_version_flag("--version", "tessera-quantize (tessera) " TESSERA_VERSION);
  app.get_formatter()->column_width(32);
  app.footer(kFooter);
  add_options(app, o, extra);
  parse_arguments(app, argc, argv);
  if (extra.precision.empty() && extra.type.empty()) refuse("-p", "missing; see --help");
  if (!extra.precision.empty()) check_precision(extra.precision);
  o.recipe = qwen3vl::Recipe(extra.type.empty() ? extra.precision : extra.type, extra.vision_type);
  o.text = !extra.skip_text;
  o.vision = !extra.skip_vision;
  if (!o.text && !o.vision) refuse("--skip-text", "not together with --skip-vision; see --help");
  const bool blocks = (o.text && o.recipe.text_in_blocks()) || (o.vision && o.recipe.vision_in_blocks());
  if (o.calibrate && !blocks) refuse("--calibrate", "is of no use where every type is a float type");
  o.threads = usable_threads(extra.threads);
  return o;
}

}  // namespace tessera::programs
