#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "quant/half.h"
#include "tests/golden.h"
#include "tests/ops/op_test.h"

namespace tessera::testing {
namespace {

struct Entry {
  std::size_t index;
  double weight;
};

std::vector<float> positions(const TensorView& table, const ops::GridOptions& grid) {
  return run([&](Graph& g) { return ops::interpolate_positions(g, table, grid); });
}

// spec/qwen3-vl.md 5.1: rows of a 4 x 6 grid over the 48 x 48 table.
TEST(InterpolatePositions, MatchesTheSpec) {
  const std::map<std::size_t, std::vector<Entry>> rows{
      {0, {{0, 1}}},
      {1, {{9, 0.6}, {10, 0.4}}},
      {2, {{720, 0.333333}, {768, 0.666667}}},
      {3, {{729, 0.2}, {730, 0.133333}, {777, 0.4}, {778, 0.266667}}},
      {7, {{748, 0.266667}, {749, 0.066667}, {796, 0.533333}, {797, 0.133333}}},
      {23, {{2303, 1}}}};
  constexpr std::size_t kColumns = 5;
  const auto table = random_floats(2304 * kColumns, 1);
  const auto y = positions(view(table, {2304, kColumns}), {1, 4, 6, 2});
  ASSERT_EQ(y.size(), 24 * kColumns);
  for (const auto& [row, entries] : rows) {
    for (std::size_t k = 0; k < kColumns; ++k) {
      double expected = 0;
      for (const Entry& e : entries) expected += e.weight * double{table[e.index * kColumns + k]};
      EXPECT_NEAR(y[row * kColumns + k], expected, 4 * 5 * 1e-6) << "row " << row;  // weights of six digits
    }
  }
}

// spec/qwen3-vl.md 3.6: the patch of each row of a 4 x 6 grid.
TEST(InterpolatePositions, EmitsRowsInMergeOrder) {
  constexpr int kOrder[24][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3},
                                 {0, 4}, {0, 5}, {1, 4}, {1, 5}, {2, 0}, {2, 1}, {3, 0}, {3, 1},
                                 {2, 2}, {2, 3}, {3, 2}, {3, 3}, {2, 4}, {2, 5}, {3, 4}, {3, 5}};
  // Table entry (r, c) of a 6 x 6 table holds r and c, so a patch reads its own coordinates, 5 / 3 r and c.
  std::vector<float> table;
  for (int r = 0; r < 6; ++r) {
    for (int c = 0; c < 6; ++c) table.insert(table.end(), {static_cast<float>(r), static_cast<float>(c)});
  }
  const auto y = positions(view(table, {36, 2}), {1, 4, 6, 2});
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_NEAR(y[2 * i], kOrder[i][0] * 5.0 / 3, 1e-6) << i;
    EXPECT_NEAR(y[2 * i + 1], kOrder[i][1], 1e-6) << i;
  }
}

// spec/qwen3-vl.md 5.1: source coordinates of n = 6, 86 and 128 patches.
TEST(InterpolatePositions, AlignsCorners) {
  std::vector<float> table;
  for (int r = 0; r < 48; ++r) table.insert(table.end(), 48, static_cast<float>(r));
  const std::pair<std::int32_t, double> steps[] = {{6, 9.4}, {86, 0.552941}, {128, 0.370079}};
  for (const auto& [n, step] : steps) {
    const auto y = positions(view(table, {2304, 1}), {1, n, 1, 1});
    for (std::int32_t i = 0; i < n; ++i) {
      EXPECT_NEAR(y[static_cast<std::size_t>(i)], i * step, n * 5e-7 + 4e-6) << n << ", " << i;
    }
    EXPECT_EQ(y.back(), 47.0f);
  }
}

TEST(InterpolatePositions, OfTheTablesOwnSizeIsTheTable) {
  const auto table = random_floats(48 * 48 * 3, 2);
  EXPECT_EQ(positions(view(table, {2304, 3}), {1, 48, 48, 1}), table);
}

TEST(InterpolatePositions, OfOnePatchIsTheFirstEntry) {
  const auto table = random_floats(16 * 3, 3);
  EXPECT_EQ(positions(view(table, {16, 3}), {1, 1, 1, 1}),
            std::vector<float>(table.begin(), table.begin() + 3));
  const std::vector<float> one{5, 6, 7};  // a table of one entry
  EXPECT_EQ(positions(view(one, {1, 3}), {1, 1, 2, 1}), (std::vector<float>{5, 6, 7, 5, 6, 7}));
}

TEST(InterpolatePositions, RepeatsForEveryFrame) {
  const auto table = random_floats(25 * 7, 4);
  const auto one = positions(view(table, {25, 7}), {1, 4, 8, 2});
  auto three = one;
  for (int t = 1; t < 3; ++t) three.insert(three.end(), one.begin(), one.end());
  EXPECT_EQ(positions(view(table, {25, 7}), {3, 4, 8, 2}), three);
}

TEST(InterpolatePositions, ReadsHalfPrecisionTables) {
  const auto source = random_floats(16 * 9, 5);
  for (const DType type : {DType::kF16, DType::kBF16}) {
    std::vector<std::uint16_t> half;
    std::vector<float> widened;
    for (const float x : source) {
      half.push_back(type == DType::kF16 ? quant::f32_to_f16(x) : quant::f32_to_bf16(x));
      widened.push_back(type == DType::kF16 ? quant::f16_to_f32(half.back())
                                            : quant::bf16_to_f32(half.back()));
    }
    EXPECT_EQ(positions(TensorView(type, {16, 9}, half.data()), {1, 6, 10, 2}),
              positions(view(widened, {16, 9}), {1, 6, 10, 2}));
  }
}

TEST(InterpolatePositions, RefusesWhatDoesNotFit) {
  const std::vector<float> table(36);
  auto refuses = [&](const Shape& shape, const ops::GridOptions& grid, const std::string& message) {
    expect_usage_error([&](Graph& g) { ops::interpolate_positions(g, view(table, shape), grid); },
                       "interpolate_positions: " + message);
  };
  refuses({18, 2}, {1, 2, 2, 2}, "table is f32[18, 2], expected f32, f16 or bf16 [n*n, D]");
  refuses({36}, {1, 2, 2, 2}, "table is f32[36], expected f32, f16 or bf16 [n*n, D]");
  refuses({9, 4}, {1, 3, 2, 2}, "grid is [1, 3, 2], expected extents above 0, multiples of 2");
  refuses({9, 4}, {1, 2, 0, 2}, "grid is [1, 2, 0], expected extents above 0, multiples of 2");
  refuses({9, 4}, {0, 2, 2, 2}, "grid is [0, 2, 2], expected extents above 0, multiples of 2");
}

// Tensors of one small safetensors file, widened to f32.
class Safetensors {
 public:
  explicit Safetensors(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), sizeof length);
    header_ = nlohmann::json::parse(bytes_.data() + 8, bytes_.data() + 8 + length);
    data_ = bytes_.data() + 8 + length;
  }
  Shape shape(const std::string& name) const {
    return Shape(header_.at(name).at("shape").get<std::vector<std::int64_t>>());
  }
  std::vector<float> values(const std::string& name) const {
    const auto& entry = header_.at(name);
    const char* begin = data_ + entry.at("data_offsets")[0].get<std::size_t>();
    const std::size_t bytes =
        entry.at("data_offsets")[1].get<std::size_t>() - entry.at("data_offsets")[0].get<std::size_t>();
    if (entry.at("dtype") == "F32") {
      std::vector<float> out(bytes / 4);
      std::memcpy(out.data(), begin, bytes);
      return out;
    }
    EXPECT_EQ(entry.at("dtype"), "BF16");
    std::vector<float> out(bytes / 2);
    for (std::size_t i = 0; i < out.size(); ++i) {
      std::uint16_t half = 0;
      std::memcpy(&half, begin + 2 * i, 2);
      out[i] = quant::bf16_to_f32(half);
    }
    return out;
  }

 private:
  std::string bytes_;
  nlohmann::json header_;
  const char* data_ = nullptr;
};

// Transformers: what it added to the patch embedding is the interpolated table.
TEST(InterpolatePositions, MatchesTransformers) {
  TESSERA_REQUIRE_SHARED("cases/shapes-vl/one.safetensors");
  const Safetensors model(shared_golden("shapes-vl/model.safetensors"));
  const std::string table_name = "model.visual.pos_embed.weight";
  const auto table = model.values(table_name);
  for (const std::string name : {"one", "video"}) {
    SCOPED_TRACE(name);
    const Safetensors golden(shared_golden("cases/shapes-vl/" + name + ".safetensors"));
    std::ifstream file(shared_golden("cases/shapes-vl/" + name + ".json"));
    const auto info = nlohmann::json::parse(file);
    const auto& thw = info.at(name == "one" ? "image_grid_thw" : "video_grid_thw").at(0);
    const auto embedded = golden.values("vision.patch_embed"), sum = golden.values("vision.0.input");
    auto y = positions(view(table, model.shape(table_name)), {thw[0], thw[1], thw[2], 2});
    ASSERT_EQ(y.size(), sum.size());
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += embedded[i];
    expect_near(y, sum, 1e-5);
  }
}

}  // namespace
}  // namespace tessera::testing
