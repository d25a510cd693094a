// How good an answer is, as shared/golden/make/score.py counts it:
//
//   kind           score
//   describe       phrases that both answers have / phrases of the longer answer, as multisets. A phrase is
//                  (big|small) WORD WORD (in the center | at the [a-z]+[ left| right] | on the WORD)
//   boxes, box_one F-measure of boxes: 2 · hits / (boxes wanted + boxes given). A given box hits the best of
//                  the wanted ones left with its label when their IoU is at least 0.5. Boxes stand in the
//                  text from its first "[{" to its last "}]" as [{"label": …, "bbox_2d": [x0, y0, x1, y1]},
//                  …]; where that is not so there are none
//   any other      1 if the texts are equal without white space at their ends, else 0
//
// Letters of words are those of ASCII, digits, "_" and every character beyond ASCII.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/common/dataset.h"

namespace tessera::programs {

// In [0, 1].
double answer_score(std::string_view kind, std::string_view wanted, std::string_view given);

struct TaskScores {
  struct Mean {
    std::size_t count = 0;
    double sum = 0;
    double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  };
  std::map<std::string, Mean> kinds;
  Mean all;
};

// One answer a task, in their order; every task has a wanted answer.
TaskScores score_answers(std::span<const Example> tasks, std::span<const std::string> answers);

}  // namespace tessera::programs
