// A StepObserver that writes what each thread did as a Chrome trace: open the file in Perfetto or
// chrome://tracing. One row a thread; each piece carries op, name, shape, bytes, FLOPs and its step's share
// of the recorded time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/executor.h"

namespace tessera {

class TESSERA_API TraceWriter : public StepObserver {
 public:
  // Names the runs that follow, such as "prefill".
  void begin_phase(std::string_view phase) { phase_ = phase; }
  void run_begins(const Plan& plan, int threads) override;
  void thread_worked(int step, int thread, std::int64_t begin_ns, std::int64_t end_ns) noexcept override;

  // Throws Error{kOutput}; no partial file is left then.
  void write(const std::string& path) const;

 private:
  struct Label {
    std::string phase, op, kernel, name, shape;
    OpCost cost;
  };
  struct Piece {
    std::int32_t label = 0, thread = 0;
    std::int64_t begin_ns = 0, end_ns = 0;
    bool worked() const { return end_ns != 0; }  // the team had this thread
  };
  std::string phase_ = "run";
  std::vector<Label> labels_;  // one for each step of each run
  std::vector<Piece> pieces_;  // label-major: run_begins makes room for every thread of every step
  std::size_t first_label_ = 0, first_piece_ = 0;
  int threads_ = 1;
};

}  // namespace tessera
