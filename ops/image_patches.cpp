#include <algorithm>

#include "ops/op_util.h"
#include "ops/ops.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kLevels = 256;

// Extents of the output: patches across, windows across and down, steps of time.
struct Layout {
  Layout(const Shape& samples, const PatchOptions& options)
      : windows_down(samples[1] / options.patch / options.merge),
        windows_across(samples[2] / options.patch / options.merge),
        steps((samples[0] + options.depth - 1) / options.depth) {}
  std::int64_t windows_down, windows_across, steps;
  std::int64_t windows() const { return steps * windows_down * windows_across; }
};

TensorDesc infer(const OpArgs& args) {
  const TensorDesc &samples = args.inputs[0], &levels = args.inputs[1];
  const auto& options = args.get<PatchOptions>();
  if (options.patch < 1 || options.depth < 1 || options.merge < 1)
    reject("patch, depth or merge is not positive");
  const std::int64_t window = std::int64_t{options.patch} * options.merge;
  if (samples.dtype != DType::kU8 || samples.shape.rank() != 4 || !samples.is_dense() ||
      samples.shape.elements() == 0 || samples.shape[1] % window != 0 || samples.shape[2] % window != 0) {
    reject("samples is " + describe(samples) + ", expected dense u8 [F, y, x, c], y and x multiples of " +
           std::to_string(window));
  }
  const Shape expected{samples.shape[3], kLevels};
  if (levels.dtype != DType::kF32 || levels.shape != expected || !levels.is_dense())
    reject("levels is " + describe(levels) + ", expected dense f32" + expected.to_string());
  const Layout layout(samples.shape, options);
  return TensorDesc::dense(DType::kF32, {layout.windows() * options.merge * options.merge,
                                         samples.shape[3] * options.depth * options.patch * options.patch});
}

// Where a patch's first sample lies.
struct Corner {
  std::int64_t step, y, x;
};

// One row of the output.
void write_patch(const KernelArgs& args, const Corner& corner, float* y) {
  const auto& options = args.get<PatchOptions>();
  const TensorView& samples = args.inputs[0];
  const std::int64_t frames = samples.shape[0], width = samples.shape[2], channels = samples.shape[3];
  const std::int64_t patch = options.patch;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* levels = args.inputs[1].as<float>() + c * kLevels;
    std::int64_t previous = -1;
    for (std::int64_t f = corner.step * options.depth; f < (corner.step + 1) * options.depth; ++f) {
      const std::int64_t frame = std::min(f, frames - 1);
      if (frame == previous) {
        y = std::copy_n(y - patch * patch, patch * patch, y);
        continue;
      }
      previous = frame;
      const std::uint8_t* row = samples.as<std::uint8_t>() +
                                ((frame * samples.shape[1] + corner.y) * width + corner.x) * channels + c;
      for (std::int64_t i = 0; i < patch; ++i, row += width * channels) {
        for (std::int64_t j = 0; j < patch; ++j) *y++ = levels[row[j * channels]];
      }
    }
  }
}

// A task is one window.
void run(const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept {
  const auto& options = args.get<PatchOptions>();
  const Layout layout(args.inputs[0].shape, options);
  const std::int64_t merge = options.merge, columns = args.output.shape[1];
  for (std::int64_t window = begin; window < end; ++window) {
    const std::int64_t across = window % layout.windows_across, rest = window / layout.windows_across;
    const std::int64_t down = rest % layout.windows_down, step = rest / layout.windows_down;
    for (std::int64_t i = 0; i < merge * merge; ++i) {
      const Corner corner{step, (down * merge + i / merge) * options.patch,
                          (across * merge + i % merge) * options.patch};
      write_patch(args, corner, args.output.as<float>() + (window * merge * merge + i) * columns);
    }
  }
}

OpPlan plan(const OpArgs& args, const Cpu&) {
  const Layout layout(args.inputs[0].shape, args.get<PatchOptions>());
  return {.run = run, .kernel = "image_patches", .tasks = layout.windows()};
}

OpCost cost(const OpArgs& args) {
  return {.bytes = static_cast<double>(args.inputs[0].shape.elements() + 4 * args.output.shape.elements())};
}

constexpr OpDef kImagePatches{"image_patches", infer, plan, cost};

}  // namespace

Tensor image_patches(Graph& g, const Operand& samples, const Operand& levels, const PatchOptions& options) {
  return g.append(kImagePatches, {samples, levels}, options);
}

}  // namespace tessera::ops
