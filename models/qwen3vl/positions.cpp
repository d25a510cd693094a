#include "models/qwen3vl/positions.h"

#include <algorithm>
#include <limits>
#include <string>

#include "tensor/error.h"

namespace tessera::qwen3vl {
namespace {

// The grids of one kind of placeholder, taken one time step after another.
class GridQueue {
 public:
  GridQueue(std::span<const Grid> grids, std::int64_t merge, const char* kind)
      : grids_(grids), merge_(static_cast<int>(merge)), kind_(kind) {
    for (const Grid& grid : grids_) {
      if (grid.t < 1 || grid.h < 1 || grid.w < 1 || grid.h % merge_ != 0 || grid.w % merge_ != 0) {
        throw Error(ErrorCode::kUsage, "", kind_,
                    "grid " + std::to_string(grid.t) + " x " + std::to_string(grid.h) + " x " +
                        std::to_string(grid.w) + " is no positive multiple of the merge size " +
                        std::to_string(merge_));
      }
      wanted_ += grid.tokens(merge_);
    }
  }

  // Throws unless `tokens` holds as many placeholders as the grids ask for.
  void check_count(std::span<const std::int32_t> tokens, std::int32_t placeholder) const {
    const auto count = std::count(tokens.begin(), tokens.end(), placeholder);
    if (count == wanted_) return;
    throw Error(ErrorCode::kInput, "prompt", kind_,
                "placeholders do not match (got " + std::to_string(count) + " tokens, expected " +
                    std::to_string(wanted_) + " for " + std::to_string(grids_.size()) + " grids)");
  }

  // The next grid of one time step, in tokens. Only while placeholders are left.
  Grid take() {
    const Grid& grid = grids_[index_];
    if (++step_ == grid.t) {
      step_ = 0;
      ++index_;
    }
    return {1, grid.h / merge_, grid.w / merge_};
  }

 private:
  std::span<const Grid> grids_;
  int merge_;
  const char* kind_;
  std::int64_t wanted_ = 0;  // tokens
  std::size_t index_ = 0;
  int step_ = 0;
};

}  // namespace

Positions token_positions(std::span<const std::int32_t> tokens, std::span<const Grid> images,
                          std::span<const Grid> videos, const Config& config, std::int32_t start) {
  GridQueue image_grids(images, config.vision.spatial_merge_size, "image");
  GridQueue video_grids(videos, config.vision.spatial_merge_size, "video");
  image_grids.check_count(tokens, config.image_token_id);
  video_grids.check_count(tokens, config.video_token_id);
  // A token or a grid of k tokens moves the position by k at most.
  const std::int64_t room = std::int64_t{std::numeric_limits<std::int32_t>::max()} - start;
  if (start < 0 || static_cast<std::int64_t>(tokens.size()) > room) {
    throw Error(ErrorCode::kInput, "prompt", "positions",
                "out of range (got " + std::to_string(tokens.size()) + " tokens from position " +
                    std::to_string(start) + ")");
  }

  const std::size_t n = tokens.size();
  Positions out{std::vector<std::int32_t>(3 * n), start};
  std::int32_t* const time = out.values.data();
  std::int32_t* const row = time + n;
  std::int32_t* const column = row + n;
  for (std::size_t i = 0; i < n;) {
    const bool image = tokens[i] == config.image_token_id;
    if (!image && tokens[i] != config.video_token_id) {
      time[i] = row[i] = column[i] = out.next++;
      ++i;
      continue;
    }
    const Grid grid = image ? image_grids.take() : video_grids.take();
    const auto run = static_cast<std::size_t>(grid.patches());
    const auto same = [&](std::int32_t token) { return token == tokens[i]; };
    if (run > n - i || !std::all_of(tokens.begin() + i, tokens.begin() + i + run, same)) {
      throw Error(ErrorCode::kInput, "prompt", image ? "image" : "video",
                  "placeholders of one grid are not together (expected a run of " + std::to_string(run) +
                      " tokens at token " + std::to_string(i) + ")");
    }
    for (int y = 0; y < grid.h; ++y) {
      for (int x = 0; x < grid.w; ++x, ++i) {
        time[i] = out.next;
        row[i] = out.next + y;
        column[i] = out.next + x;
      }
    }
    out.next += std::max(grid.h, grid.w);
  }
  return out;
}

}  // namespace tessera::qwen3vl
