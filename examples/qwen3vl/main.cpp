// qwen3vl: answers questions about pictures with a Qwen3-VL model. `qwen3vl --help` says how.

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/program.h"
#include "examples/common/signals.h"
#include "examples/qwen3vl/boxes.h"
#include "examples/qwen3vl/conversation.h"
#include "examples/qwen3vl/draw.h"
#include "examples/qwen3vl/interactive.h"
#include "examples/qwen3vl/options.h"
#include "examples/qwen3vl/report.h"
#include "models/qwen3vl/model.h"
#include "models/qwen3vl/model_files.h"
#include "tensor/error.h"

namespace tessera::programs {
namespace {

std::vector<Picture> read_pictures(const Options& options, const PreprocessConfig& preprocess) {
  std::vector<Picture> pictures;
  for (const std::string& path : options.images) {
    pictures.push_back(read_picture(path, preprocess));
    if (options.show_input) {
      write_png(numbered_path(*options.show_input, pictures.size() - 1),
                resize_bicubic(pictures.back().image, pictures.back().seen));
    }
  }
  return pictures;
}

// Answers do not say which picture their boxes are of; the one next to the question is taken.
BoxList boxes_of_answer(const Options& options, const Answer& answer, std::span<const Picture> pictures) {
  if (pictures.empty()) return {};
  const Image& image = pictures.back().image;
  BoxList list = find_boxes(answer.text, image.width, image.height);
  if (list.cut > 0) warn(std::to_string(list.cut) + " boxes reach beyond the picture and were cut");
  if (list.dropped > 0) warn(std::to_string(list.dropped) + " boxes without area were left out");
  if (options.draw_boxes && list.boxes.empty()) warn("no boxes in the answer");
  if (options.draw_boxes && pictures.size() > 1)
    warn("boxes are drawn into the last picture, " + escape(pictures.back().path));
  return list;
}

int run_once(const Options& options, Conversation& conversation, const PreprocessConfig& preprocess,
             double load_seconds) {
  const Cancellable cancellable;
  const std::vector<Picture> pictures = read_pictures(options, preprocess);
  Answer answer = options.raw ? conversation.ask_raw(*options.prompt, pictures)
                              : conversation.ask(*options.prompt, pictures);
  answer.timings.load = load_seconds;
  const BoxList boxes = boxes_of_answer(options, answer, pictures);
  if (options.json) {
    const std::size_t box_image = pictures.empty() ? 0 : pictures.size() - 1;
    write_file(*options.json, json_report(options.model.path, answer, pictures, boxes, box_image));
  }
  if (options.draw_boxes) {
    Image image = pictures.back().image;
    draw_boxes(image, boxes.boxes);
    write_png(*options.draw_boxes, image);
  }
  note(timing_line(answer) + "\n");
  return answer.finish == FinishReason::kCancelled ? 128 + pending_signal() : 0;
}

int run(int argc, const char* const* argv) {
  const Options options = parse_options(argc, argv);
  if (options.prompt && options.prompt->empty() && options.images.empty())
    throw Error(ErrorCode::kInput, "", "prompt", "empty");
  install_signal_handlers(options.model.path);

  const double begin = monotonic_seconds();
  qwen3vl::SessionOptions session;
  session.threads = options.threads;
  session.cache_dtype = options.cache_dtype;
  qwen3vl::ModelFiles files = qwen3vl::open_model_files(options.model.path, options.model.mmproj);
  const qwen3vl::TextConfig& text = files.config.text;
  session.context = context_size(options, text.max_position_embeddings);
  const DType cache_dtype = options.cache_dtype.value_or(qwen3vl::default_cache_dtype(session.cpu));
  const std::size_t cache = qwen3vl::cache_bytes(text, session.context, cache_dtype);
  const auto model = qwen3vl::Model::load(std::move(files), {options.threads, cache, options.model.recipe});
  const double load_seconds = monotonic_seconds() - begin;
  for (const std::string& text_of_warning : model->warnings()) warn(text_of_warning);

  const PreprocessConfig preprocess = preprocess_config(options, model->preprocess());
  const SamplerOptions sampler = sampler_options(options, model->generation(), std::random_device{}());
  if (sampler.temperature > 0) note("seed " + std::to_string(sampler.seed) + "\n");
  TraceWriter trace;
  Conversation conversation(model, options, session, sampler, preprocess, options.trace ? &trace : nullptr);
  if (!options.prompt) return run_interactive(conversation, read_pictures(options, preprocess), preprocess);
  const int status = run_once(options, conversation, preprocess, load_seconds);
  if (options.trace) trace.write(*options.trace);
  return status;
}

}  // namespace
}  // namespace tessera::programs

int main(int argc, char** argv) {
  return tessera::programs::run_program([&] { return tessera::programs::run(argc, argv); });
}
