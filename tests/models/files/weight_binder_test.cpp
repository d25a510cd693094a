#include "models/files/weight_binder.h"

#include <gtest/gtest.h>

#include "tests/models/files/expect_error.h"
#include "tests/models/files/make_safetensors.h"
#include "tests/models/files/temp_dir.h"

// The names S32, S33 and C9 are rows of reliability.md §3.
namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WeightBinderTest : public ::testing::Test {
 protected:
  const testing::TempDir dir_;
  const std::unique_ptr<Checkpoint> checkpoint_ =
      open_checkpoint(dir_.write("x.safetensors", testing::make_safetensors(R"({
          "visual.norm": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
          "model.up": {"dtype": "F16", "shape": [2, 3], "data_offsets": [8, 20]},
          "model.mask": {"dtype": "BOOL", "shape": [1], "data_offsets": [20, 21]},
          "extra\u001b": {"dtype": "F16", "shape": [], "data_offsets": [21, 23]}})",
                                                                            23)));
};

TEST_F(WeightBinderTest, FindsWeightsAndListsTheRest) {
  WeightBinder binder(*checkpoint_);
  EXPECT_EQ(binder.require("visual.norm", {2}).data, checkpoint_->find("visual.norm")->data);
  EXPECT_EQ(binder.require("model.up", {2, 3}).dtype, DType::kF16);
  EXPECT_TRUE(binder.has("model.up"));
  EXPECT_FALSE(binder.has("model.down"));
  EXPECT_THAT(binder.finish(), ElementsAre(HasSubstr("2 tensors are not used: model.mask, extra\\x1b")));
}

TEST_F(WeightBinderTest, NamesAllMissingTensorsAtOnce) {  // S32
  WeightBinder binder(*checkpoint_);
  for (int i = 0; i < 12; ++i) {
    const TensorView view = binder.require("layer." + std::to_string(i), {4, 5});
    EXPECT_EQ(view.shape, (Shape{4, 5}));
    EXPECT_EQ(view.data, nullptr);
  }
  EXPECT_TESSERA_ERROR(binder.finish(), kModel, "x.safetensors: layer.0: 12 tensors are missing: layer.0, ",
                       "layer.9 and 2 more");
}

TEST_F(WeightBinderTest, RefusesWrongShapes) {  // S33, C9
  WeightBinder binder(*checkpoint_);
  binder.require("model.up", {3, 2});
  EXPECT_TESSERA_ERROR(binder.finish(), kModel, "model.up: wrong shape (got [2, 3], expected [3, 2])");
}

TEST_F(WeightBinderTest, RefusesDtypesThatServeNoWeight) {  // S23
  WeightBinder binder(*checkpoint_);
  EXPECT_TESSERA_ERROR(binder.require("model.mask", {1}), kUnsupported, "model.mask: ", "got BOOL");
}

}  // namespace
}  // namespace tessera
