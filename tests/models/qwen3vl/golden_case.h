// One conversation with everything that the reference computed for it (tests/golden/README.md, "cases").
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/files/checkpoint.h"
#include "models/files/json.h"
#include "models/qwen3vl/session.h"
#include "quant/formats.h"
#include "tests/float_levels.h"
#include "tests/golden.h"

namespace tessera::testing {

// How a checkpoint's matrices are given to the model.
enum class Stored { kAsInFile, kAsF32 };

struct GoldenCase {
  std::string checkpoint, name;
  Stored stored = Stored::kAsInFile;

  // Where the case lies: tests/golden for those that travel with the project, else ../shared/golden.
  std::string root() const {
    const std::string file = "cases/" + checkpoint + "/" + name + ".json";
    return std::filesystem::exists(golden(file)) ? golden("") : shared_golden("");
  }
  std::string model_folder() const {
    if (checkpoint == "shapes-vl") return std::string(TESSERA_GOLDEN_DIR) + "/../../examples/data/shapes-vl";
    const std::string folder = "checkpoints/" + checkpoint;
    return std::filesystem::exists(golden(folder)) ? golden(folder) : shared_golden(folder);
  }
  bool exists() const {
    return std::filesystem::exists(root() + "cases/" + checkpoint + "/" + name + ".json");
  }
  nlohmann::json json() const {
    return read_json_file(root() + "cases/" + checkpoint + "/" + name + ".json", 1 << 24);
  }
  std::unique_ptr<Checkpoint> tensors() const {
    return open_checkpoint(root() + "cases/" + checkpoint + "/" + name + ".safetensors");
  }
  // Pictures of the conversation in order.
  std::vector<Image> images(const nlohmann::json& json) const {
    std::vector<Image> all;
    for (const auto& message : json.at("messages")) {
      if (!message.at("content").is_array()) continue;
      for (const auto& part : message.at("content")) {
        if (part.at("type") == "image")
          all.push_back(read_image(root() + "images/" + part.at("image").get<std::string>()));
      }
    }
    return all;
  }
  friend void PrintTo(const GoldenCase& c, std::ostream* out) {
    *out << c.checkpoint << "/" << c.name << (c.stored == Stored::kAsF32 ? " in f32" : "");
  }
};

inline std::vector<float> floats(const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.shape.elements()));
  std::memcpy(values.data(), view.data, values.size() * sizeof(float));
  return values;
}

// The same tensors, widened to f32.
inline std::shared_ptr<const Checkpoint> widened(const Checkpoint& source) {
  std::vector<Buffer> memory;
  std::vector<Checkpoint::Entry> entries(source.entries().begin(), source.entries().end());
  for (Checkpoint::Entry& entry : entries) {
    const auto n = static_cast<std::size_t>(entry.shape.elements());
    Buffer& wide = memory.emplace_back(Buffer::allocate(n * sizeof(float)));
    auto* out = reinterpret_cast<float*>(wide.data());
    quant::find_format(entry.view->dtype)
        ->decode_row(reinterpret_cast<const std::uint8_t*>(entry.bytes.data()), entry.shape.elements(), out);
    entry.bytes = {wide.data(), wide.size()};
    entry.view = TensorView(DType::kF32, entry.shape, wide.data());
  }
  return std::make_shared<const Checkpoint>(source.path(), std::move(memory), std::move(entries),
                                            std::vector<std::string>{});
}

// Every value within 2e-4, or 2e-5 of the reference's where that is larger than 10 (golden/README.md,
// "Bounds").
inline void expect_golden(const float* got, const std::vector<float>& expected, const std::string& what) {
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double bound = std::max(2e-4, 2e-5 * std::abs(double{expected[i]}));
    const double share = std::abs(double{got[i]} - double{expected[i]}) / bound;
    if (!(share <= worst)) worst = share, at = i;
  }
  EXPECT_LE(worst, 1) << what << ": at " << at << " got " << got[at] << ", expected " << expected[at];
}

// The root mean square of the differences is at most `share` of that of the values. Single values stray
// further: 4 times, where errors are normally distributed, in one of 16000.
inline void expect_noise_below(double share, const float* got, const std::vector<float>& expected,
                               const std::string& what) {
  double error = 0, size = 0, worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = double{got[i]} - double{expected[i]};
    error += difference * difference;
    size += double{expected[i]} * double{expected[i]};
    if (!(std::abs(difference) <= worst)) worst = std::abs(difference);
  }
  const auto n = static_cast<double>(expected.size());
  const double bound = share * std::sqrt(size / n);
  EXPECT_LE(std::sqrt(error / n), bound) << what;
  EXPECT_LE(worst, 4 * bound) << what;
}

// After `roundings` of operands to bf16, one after the other on the way to these values. A rounding moves
// each operand by up to 2^-8 of itself, in the root mean square by less than 2^-9, up or down as it comes:
// sums of products of many of them move by as much of their root mean square, and n such moves in a row by
// sqrt(n) times that.
inline void expect_rounded(const float* got, const std::vector<float>& expected, double roundings,
                           const std::string& what) {
  expect_noise_below(std::sqrt(roundings) * 0x1p-9, got, expected, what);
}

// Copies the outputs of steps by name.
class Recorder : public StepObserver {
 public:
  void run_begins(const Plan& plan, int) override { plan_ = &plan; }
  void step_done(int step, std::span<const TensorView>, const TensorView& output) noexcept override {
    if (output.dtype != DType::kF32 || !output.is_dense()) return;
    const auto* values = output.as<float>();
    outputs_[plan_->steps()[static_cast<std::size_t>(step)].name].assign(values,
                                                                         values + output.shape.elements());
  }
  const std::vector<float>& at(const std::string& name) const { return outputs_.at(name); }
  bool has(const std::string& name) const { return outputs_.contains(name); }

 private:
  const Plan* plan_ = nullptr;
  std::map<std::string, std::vector<float>> outputs_;
};

}  // namespace tessera::testing
