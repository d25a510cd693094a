// Which input columns of each weight matrix matter: statistics of the activations that enter it while the
// model reads conversations. The quantizer rounds heavier columns more carefully.
//
//   Calibrator calibrator(model, {.threads = 2, .context = 4096});
//   for (...) calibrator.add(ids, pictures);
//   const Importance importance = calibrator.importance();
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/image/preprocess.h"
#include "models/qwen3vl/session.h"
#include "tensor/api.h"

namespace tessera::qwen3vl {

// Keys are the canonical Hugging Face names under which the model binds its matrices [N, K], however a
// checkpoint spells them ("model.language_model.layers.0.mlp.up_proj.weight"). Matrices that nothing entered
// have no entry: those of the vision tower when no picture was seen. A head tied to the embedding stands as
// model.language_model.embed_tokens.weight; looking tokens up in that table counts nothing.
struct Importance {
  std::map<std::string, std::vector<float>> columns;  // [K]: mean of x_k^2 over the rows x that entered
  std::map<std::string, std::int64_t> rows;           // how many those were; keys as in columns
};

// Not for use from several threads at once.
class TESSERA_API Calibrator {
 public:
  // Throws what Session's constructor throws, and Error{kUnsupported} naming a matrix in blocks: only the
  // float model is observed.
  Calibrator(std::shared_ptr<const Model> model, const SessionOptions& options);
  ~Calibrator();

  // One conversation from its start: tokens, the placeholders expanded, and the pictures in order. The head
  // counts the rows after the last picture, every other matrix all rows. False when cancelled: what was
  // computed until then may be counted. Throws what Session::encode and Session::prefill throw.
  bool add(std::span<const std::int32_t> ids, std::span<const PixelValues> pictures,
           const std::atomic<bool>* cancel = nullptr);

  // Of all conversations so far. Sums are kept in double and in the order of rows: the same bits for any
  // thread count and any SessionOptions::chunk.
  Importance importance() const;

 private:
  class Observer;
  std::shared_ptr<const Model> model_;
  Session session_;
  std::unique_ptr<Observer> observer_;
};

}  // namespace tessera::qwen3vl
