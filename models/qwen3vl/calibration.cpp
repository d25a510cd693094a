#include "models/qwen3vl/calibration.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "models/qwen3vl/weights.h"
#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

// Rows of text whose logits are computed together: the head's output is wide, 150 000 columns in published
// models, and nobody reads it here.
constexpr std::size_t kHeadRows = 64;

struct Sums {
  std::vector<double> squares;  // [K]
  std::int64_t rows = 0;

  void add(const float* x, std::int64_t count) {
    const std::size_t k = squares.size();
    double* const sum = squares.data();
    for (std::int64_t row = 0; row < count; ++row, x += k) {
      for (std::size_t i = 0; i < k; ++i) sum[i] += double{x[i]} * double{x[i]};
    }
    rows += count;
  }
};

}  // namespace

class Calibrator::Observer : public StepObserver {
 public:
  explicit Observer(const Weights& weights) : head_(weights.text.lm_head.data) {
    for (const auto& [name, view] : weights.matrices) {
      // What enters a product with blocks is itself in codes.
      if (info(view.dtype).block_elems > 1) {
        throw Error(ErrorCode::kUnsupported, weights.checkpoint->path(), name,
                    "calibration needs a float model (got " + std::string(info(view.dtype).name) +
                        ", expected f32, f16 or bf16)");
      }
      names_.emplace(view.data, name);
    }
  }

  // Whether the head's rows count in the runs that follow.
  void count_head(bool yes) { count_head_ = yes; }

  void run_begins(const Plan& plan, int) override {
    steps_.assign(plan.steps().size(), {});
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = plan.steps()[i];
      if (std::string_view(step.op->name) != "matmul") continue;
      for (const PlacedTensor& input : std::span(step.inputs).subspan(1)) {
        const std::byte* const weight = input.place.data;
        const auto name = names_.find(weight);
        if (name == names_.end() || (weight == head_ && !count_head_)) continue;
        Sums& sums = sums_[name->second];
        sums.squares.resize(static_cast<std::size_t>(step.inputs[0].desc.shape.back()));
        steps_[i].push_back(&sums);
      }
    }
  }

  void step_done(int step, std::span<const TensorView> inputs, const TensorView&) noexcept override {
    for (Sums* const sums : steps_[static_cast<std::size_t>(step)]) {
      sums->add(inputs[0].as<float>(), inputs[0].shape.rows());
    }
  }

  const std::map<std::string, Sums>& sums() const { return sums_; }

 private:
  const std::byte* head_;
  bool count_head_ = true;
  std::unordered_map<const std::byte*, std::string> names_;
  std::map<std::string, Sums> sums_;
  // Of the run's plan: for each step the named matrices that its input is multiplied with.
  std::vector<std::vector<Sums*>> steps_;
};

Calibrator::Calibrator(std::shared_ptr<const Model> model, const SessionOptions& options)
    : model_(std::move(model)),
      session_(model_, options),
      observer_(std::make_unique<Observer>(model_->weights())) {}

Calibrator::~Calibrator() = default;

bool Calibrator::add(std::span<const std::int32_t> ids, std::span<const PixelValues> pictures,
                     const std::atomic<bool>* cancel) {
  const RunOptions run{cancel, observer_.get()};
  session_.clear();
  std::vector<PictureFeatures> features;
  for (const PixelValues& picture : pictures) {
    auto encoded = session_.encode(picture, run);
    if (!encoded) return false;
    features.push_back(std::move(*encoded));
  }
  // Everything up to the last picture at once: placeholders and pictures must be seen together.
  const auto last_visual = std::find(ids.rbegin(), ids.rend(), model_->config().image_token_id);
  std::size_t at = 0;
  if (!features.empty() || ids.empty()) {
    at = last_visual == ids.rend() ? ids.size() : static_cast<std::size_t>(ids.rend() - last_visual);
    // Here the head takes the last row of each chunk, however many there are.
    observer_->count_head(false);
    if (session_.prefill(ids.first(at), features, run).empty()) return false;
  }
  observer_->count_head(true);
  while (at < ids.size()) {
    // No last row stands alone: a product of one row may round otherwise.
    const std::size_t left = ids.size() - at;
    const std::size_t count = left <= kHeadRows + 1 ? left : kHeadRows;
    if (session_.prefill_all(ids.subspan(at, count), {}, run).empty()) return false;
    at += count;
  }
  return true;
}

Importance Calibrator::importance() const {
  Importance result;
  for (const auto& [name, sums] : observer_->sums()) {
    if (sums.rows == 0) continue;
    std::vector<float>& columns = result.columns[name];
    for (const double sum : sums.squares)
      columns.push_back(static_cast<float>(sum / static_cast<double>(sums.rows)));
    result.rows[name] = sums.rows;
  }
  return result;
}

}  // namespace tessera::qwen3vl
